"""What `cwm train` can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig, Slot
from cwm_train.data.config import LossOn, TooLong
from cwm_train.parallel.config import ParallelConfig


class TrainConfig(CommandConfig):
    """One training run; a run directory continues where it stopped."""

    may_change: ClassVar[frozenset[str]] = frozenset(
        {"out", "max_steps", "max_tokens", "max_minutes", "log_every", "eval_every"}
        | {"checkpoint_every_minutes", "checkpoint_every_steps", "keep_checkpoints", "threads"}
        | {"parallel", "recompute", "compile", "max_bad_steps", "spike_sigmas", "peak_flops"}
    )

    out: Path
    """Run directory."""
    tokenizer: Path
    """Directory of the tokenizer (`cwm tokenizer train`), or its tokenizer.json."""
    model: Annotated[ComponentConfig, Slot("models", default="cwm_tiny")]
    """Shape of the model; its vocabulary is the tokenizer's."""
    init_from: Path | None = None
    """Model directory, checkpoint or run whose weights to start from; fresh weights otherwise."""
    carry_optimizer: bool = False
    """Take the optimizer's state over, too; `init_from` must be a run or a checkpoint."""
    attention: Annotated[ComponentConfig, Slot("attentions", default="chunked")]
    """How attention is computed."""
    sources: Annotated[dict[str, ComponentConfig], Slot("sources")] = Field(min_length=1)
    """Named sources of documents."""
    validation: Annotated[dict[str, ComponentConfig], Slot("sources")] = Field({})
    """Sources to measure on; by default the sources that have splits, at ``validation``."""
    mixer: Annotated[ComponentConfig, Slot("mixers", default="weighted")]
    """The order in which sources are read."""
    optimizer: Annotated[ComponentConfig, Slot("optimizers", default="muon")]
    """What turns gradients into updates."""
    schedule: Annotated[ComponentConfig, Slot("schedules", default="wsd")]
    """Learning rate over the budget."""
    schedule_span: tuple[float, float] = (0.0, 1.0)
    """Part of the schedule that this run goes through: stages that share one schedule divide it,
    such as 0 to 0.6 and 0.6 to 1."""
    loss_on: LossOn = "predicted"
    """Which tokens of a trace carry loss."""
    sequence_length: int = Field(1024, gt=1)
    """Tokens in a packed row."""
    too_long: TooLong = "drop"
    """What happens to longer documents: ``drop``, ``split`` (without overlap) and ``truncate`` are
    counted and logged; ``error`` ends the run."""
    batch_tokens: int = Field(2048, gt=0)
    """Tokens per optimizer step, all processes together."""
    accumulate: int = Field(1, gt=0)
    """Parts in which a step's batch is computed, to save memory; the result is the same."""
    max_steps: int | None = Field(None, gt=0)
    """Budget in optimizer steps."""
    max_tokens: int | None = Field(None, gt=0)
    """Budget in tokens of documents."""
    max_minutes: float | None = Field(None, gt=0)
    """Budget in minutes of training, over all starts of this run."""
    grad_clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    z_loss: float = Field(0.0, ge=0)
    """Weight of the squared log of the softmax's normaliser (arXiv 2204.02311), which keeps logits
    from drifting; the loss that is logged contains it."""
    spike_sigmas: float | None = Field(None, gt=0)
    """Skip a step whose loss or gradient norm is so many standard deviations above its mean over
    the last 128 steps; 6 is usual for long runs."""
    max_bad_steps: int = Field(10, ge=0)
    """Stop after so many skipped steps in a row: loss or gradient not finite, or a spike."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the hardware multiplies it fast, fp32 elsewhere."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of the average of the weights that is evaluated and saved; none by default."""
    parallel: ParallelConfig = ParallelConfig()
    """How the processes of a launcher share the work."""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activations that the backward pass computes anew instead of keeping them: none, all but the
    results of attention and matrix products, or all inside a layer."""
    float8: Literal["none", "tensorwise", "rowwise"] = "none"
    """Matrix products in float8, scaled per tensor or per row (torchao; NVIDIA H100 and later)."""
    compile: bool = False
    """Compile every layer with torch.compile."""
    threads: int | None = Field(None, gt=0)
    """CPU threads; torch's choice by default."""
    seed: int = Field(0, ge=0)
    """Decides initial weights and data order."""
    peak_flops: float | None = Field(None, gt=0)
    """FLOP/s of one device at its best, for the utilization (MFU) that is logged; known for common
    GPUs."""
    log_every: int = Field(10, gt=0)
    """Steps between lines of metrics.jsonl."""
    eval_every: int = Field(500, gt=0)
    """Steps between measurements on validation documents (and at the end)."""
    eval_documents: int = Field(200, gt=0)
    """Validation documents per source."""
    checkpoint_every_minutes: float = Field(5.0, gt=0)
    """Minutes between checkpoints (and at the end)."""
    checkpoint_every_steps: int | None = Field(None, gt=0)
    """Steps between checkpoints, in addition."""
    keep_checkpoints: int = Field(2, gt=0)
    """How many checkpoints to keep."""
    cache: Path | None = None
    """Where token ids are kept; ``tokens`` in the run directory by default."""
    loggers: Annotated[list[ComponentConfig], Slot("loggers", default=())]
    """Where metrics go besides metrics.jsonl."""

    @model_validator(mode="after")
    def _coherent(self) -> TrainConfig:
        if self.max_steps is None and self.max_tokens is None and self.max_minutes is None:
            raise ValueError("no budget: give max_steps, max_tokens or max_minutes")
        if self.carry_optimizer and self.init_from is None:
            raise ValueError("carry_optimizer needs init_from: the run that is carried on")
        start, end = self.schedule_span
        if not 0 <= start < end <= 1:
            raise ValueError(f"schedule_span ({start}, {end}) is no part of 0 to 1")
        if self.z_loss and self.parallel.tensor > 1:
            raise ValueError("z_loss does not work with parallel.tensor: leave one of them out")
        rows = self.batch_tokens // self.sequence_length
        if rows < self.accumulate:
            raise ValueError(
                f"batch_tokens ({self.batch_tokens}) holds {rows} rows of {self.sequence_length} "
                f"tokens: too few for accumulate={self.accumulate}"
            )
        return self
