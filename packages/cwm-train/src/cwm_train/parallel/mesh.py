"""The processes of a run as a grid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from cwm_train.parallel.config import ParallelConfig, Sizes


@dataclass(frozen=True)
class Grid:
    """The same processes, seen twice: by the parameters and by the batch.

    Neighbouring ranks are neighbours in `tensor`, then `context`, then `shard`, so that those who
    talk most sit in one node. Parameters are sharded over `shard` and `context` together.
    """

    sizes: Sizes
    parameters: DeviceMesh
    """Dimensions ``replicate``, ``shard`` (shard times context), ``tensor``."""
    batch: DeviceMesh
    """Dimensions ``data`` (replicate times shard), ``context``, ``tensor``."""

    @property
    def sharding(self) -> DeviceMesh:
        """The part of the mesh that FSDP2 works on."""
        return (
            self.parameters["replicate", "shard"]
            if self.sizes.replicate > 1
            else (self.parameters["shard"])
        )

    @property
    def data_rank(self) -> int:
        """Which rows of a batch are this process's."""
        return self.batch.get_local_rank("data")

    @property
    def context_rank(self) -> int:
        """Which stretch of the sequence is this process's."""
        return self.batch.get_local_rank("context")

    @property
    def gradient_parts(self) -> int:
        """Processes whose gradients add up to the whole."""
        return self.sizes.data * self.sizes.context

    def total(self, value: Tensor) -> Tensor:
        """Return the sum over all parts of the batch of a value that each part has."""
        total = value.clone()
        distributed.all_reduce(total)
        return total / self.sizes.tensor


def build_grid(config: ParallelConfig, device: torch.device) -> Grid:
    """Arrange the processes of the default group; raises ConfigError if they do not fit."""
    sizes = config.sizes(distributed.get_world_size())
    parameters = init_device_mesh(
        device.type,
        (sizes.replicate, sizes.shards, sizes.tensor),
        mesh_dim_names=("replicate", "shard", "tensor"),
    )
    batch = init_device_mesh(
        device.type,
        (sizes.data, sizes.context, sizes.tensor),
        mesh_dim_names=("data", "context", "tensor"),
    )
    return Grid(sizes, parameters, batch)
