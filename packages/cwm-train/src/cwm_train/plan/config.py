"""What `cwm model plan` can be told; keys that `cwm train` has mean the same here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig, Slot
from cwm_train.parallel.config import ParallelConfig, Sizes

GIB = 2**30
Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU, by its maker's data sheet: dense rates, without sparsity."""

    memory_bytes: int
    fp32: float
    """Matrix products per second in fp32, in FLOP/s."""
    bf16: float
    float8: float
    """0: it has none."""
    link: float
    """Bytes per second to the GPUs of its node, one way."""

    def flops(self, precision: str) -> float:
        """Return the peak rate in FLOP/s."""
        rates: dict[str, float] = {"fp32": self.fp32, "bf16": self.bf16, "float8": self.float8}
        return rates[precision]


GPUS = {
    "a100": Gpu(80 * GIB, 19.5e12, 312e12, 0, 300e9),
    "h100": Gpu(80 * GIB, 67e12, 989e12, 1979e12, 450e9),
    "h200": Gpu(141 * GIB, 67e12, 989e12, 1979e12, 450e9),
    "b200": Gpu(180 * GIB, 75e12, 2250e12, 4500e12, 900e9),
    "l40s": Gpu(48 * GIB, 91.6e12, 362e12, 733e12, 32e9),
    "mi300x": Gpu(192 * GIB, 163e12, 1307e12, 2615e12, 448e9),
    "rtx4090": Gpu(24 * GIB, 82.6e12, 165e12, 330e12, 32e9),
}


class PlanConfig(CommandConfig):
    """A training run on a described cluster."""

    model: Annotated[ComponentConfig, Slot("models", default="cwm_32b")]
    """Shape of the model."""
    optimizer: Annotated[ComponentConfig, Slot("optimizers", default="adamw")]
    """What turns gradients into updates; its state takes memory."""
    sequence_length: int = Field(8192, gt=1)
    """Tokens in a packed row."""
    batch_tokens: int = Field(4_194_304, gt=0)
    """Tokens per optimizer step, all processes together."""
    accumulate: int = Field(1, gt=0)
    """Parts in which a step's batch is computed."""
    max_tokens: float = Field(8e12, gt=0)
    """Tokens to train on."""
    document_tokens: int | None = Field(None, gt=0)
    """Length of the packed documents; by default each row is one document."""
    precision: Precision = "bf16"
    """Precision of weights and activations while they are computed with."""
    float8: Literal["none", "tensorwise", "rowwise"] = "none"
    """Matrix products of the layers in float8."""
    recompute: Literal["none", "selective", "full"] = "selective"
    """Activations that the backward pass computes anew."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of averaged weights; they take memory."""
    parallel: ParallelConfig = ParallelConfig()
    """How the GPUs share the work."""
    gpu: Literal["a100", "h100", "h200", "b200", "l40s", "mi300x", "rtx4090"] = "h100"
    """Kind of GPU."""
    gpus: int = Field(256, gt=0)
    """How many."""
    gpus_per_node: int = Field(8, gt=0)
    """How many share a node."""
    gpu_memory_bytes: int | None = Field(None, gt=0)
    """Memory of one GPU; the kind's by default."""
    gpu_flops: float | None = Field(None, gt=0)
    """Peak FLOP/s of one GPU; the kind's in the chosen precision by default."""
    mfu: float = Field(0.45, gt=0, le=1)
    """Share of the peak that the GPU reaches while it computes; waiting for others comes on top."""
    node_bytes_per_s: float | None = Field(None, gt=0)
    """Bytes per second between the GPUs of a node, one way; the kind's by default."""
    network_bytes_per_s: float = Field(50e9, gt=0)
    """Bytes per second of each GPU to other nodes, one way (50e9: 400 Gbit/s)."""

    @model_validator(mode="after")
    def _coherent(self) -> PlanConfig:
        if self.float8 != "none" and not GPUS[self.gpu].float8:
            raise ValueError(f"gpu={self.gpu} has no float8")
        if self.rows < self.accumulate:
            raise ValueError(
                f"batch_tokens ({self.batch_tokens}) holds {self.rows} rows: too few for "
                f"accumulate={self.accumulate}"
            )
        return self

    @property
    def rows(self) -> int:
        """Rows of a batch."""
        return self.batch_tokens // self.sequence_length

    @property
    def sizes(self) -> Sizes:
        """How the GPUs are arranged; raises ConfigError if they cannot be."""
        return self.parallel.sizes(self.gpus)

    @property
    def part_rows(self) -> int:
        """Rows that one GPU computes at once."""
        return -(-self.rows // (self.sizes.data * self.accumulate))

    @property
    def part_tokens(self) -> int:
        """Tokens that one GPU (and those that share its matrices) computes at once."""
        return self.part_rows * self.sequence_length // self.sizes.context

    @property
    def element_bytes(self) -> int:
        """Bytes of a number in `precision`."""
        return 4 if self.precision == "fp32" else 2
