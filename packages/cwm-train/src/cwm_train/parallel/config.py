"""How the processes of a launcher share the work."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from cwm_core.errors import ConfigError


@dataclass(frozen=True)
class Sizes:
    """Processes along every dimension; their product is the number of processes."""

    replicate: int = 1
    shard: int = 1
    context: int = 1
    tensor: int = 1

    @property
    def data(self) -> int:
        """Groups of processes that read different rows of a batch."""
        return self.replicate * self.shard

    @property
    def shards(self) -> int:
        """Parts into which weights, gradients and optimizer state are cut, `tensor` aside."""
        return self.shard * self.context

    @property
    def processes(self) -> int:
        """All processes."""
        return self.replicate * self.shard * self.context * self.tensor

    def __str__(self) -> str:
        return (
            f"replicate {self.replicate} x shard {self.shard} x context {self.context} "
            f"x tensor {self.tensor}"
        )


class ParallelConfig(BaseModel):
    """Processes along each dimension; alone, a process needs none of this."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    replicate: int = Field(1, gt=0)
    """Copies of the sharded model; set to the number of nodes, gradients alone cross the network
    between nodes (hybrid sharding)."""
    shard: int | None = Field(None, gt=0)
    """Processes that share one copy of weights, gradients and optimizer state (FSDP2); by default
    all that the other dimensions leave."""
    context: int = Field(1, gt=0)
    """Processes that share one sequence, each a stretch of it; they exchange keys and values."""
    tensor: int = Field(1, gt=0)
    """Processes that share every matrix product, by heads and columns; keep them in one node."""
    reshard_after_forward: bool = True
    """Free gathered weights after each layer's forward pass and gather them again for the
    backward pass; false needs more memory and less communication."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds after which a process that does not answer counts as lost."""

    def sizes(self, processes: int) -> Sizes:
        """Return the dimensions for a number of processes; ConfigError if they do not fit."""
        taken = self.replicate * self.context * self.tensor
        shard = self.shard if self.shard is not None else max(1, processes // taken)
        sizes = Sizes(self.replicate, shard, self.context, self.tensor)
        if sizes.processes != processes:
            raise ConfigError(
                f"parallel: {sizes} makes {sizes.processes} processes, but {processes} "
                f"{'were' if processes > 1 else 'was'} started",
                f"start {sizes.processes} (torchrun --nproc-per-node), or change parallel.*",
            )
        return sizes


def check_length(sequence_length: int, sizes: Sizes) -> None:
    """Raise ConfigError when processes cannot share a sequence evenly."""
    parts = sizes.context * sizes.tensor
    if sequence_length % parts:
        raise ConfigError(
            f"sequence_length ({sequence_length}) is no multiple of {parts}, the product of "
            "parallel.context and parallel.tensor, which share each sequence",
            f"set sequence_length={max(1, sequence_length // parts) * parts}",
        )
