"""What `cwm rl train` can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig, Slot
from cwm_rl.tasks.config import Part, TaskConfig

Api = Literal["cwm", "vllm", "sglang"]


class EnginesConfig(Part):
    """What generates: engine processes of our own, or servers that run already."""

    count: int = Field(1, ge=0)
    """Engine processes to start on this machine; 0 with `servers`."""
    servers: tuple[str, ...] = ()
    """Addresses of running OpenAI-compatible servers, such as ``http://node7:8000/v1``."""
    api: Api = "cwm"
    """How `servers` take new weights: `cwm serve`, vLLM or SGLang."""
    device: str = "auto"
    """Of our own engines: ``cpu``, ``cuda``, or ``cuda:{index}`` to give each its GPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of our own engines."""
    max_batch: int = Field(32, gt=0)
    """Sequences that one engine generates at once."""
    requests: int | None = Field(None, gt=0)
    """Requests that one engine is given at once; twice `max_batch` by default."""
    threads: int | None = Field(1, gt=0)
    """CPU threads of each of our own engines."""
    request_timeout_s: float = Field(600.0, gt=0)
    """Seconds after which a request counts as lost and is given to another engine."""
    retries: int = Field(20, ge=0)
    """Further tries of a request that an engine could not answer."""

    @model_validator(mode="after")
    def _some(self) -> EnginesConfig:
        if not self.count and not self.servers:
            raise ValueError("no engine: set engines.count or engines.servers")
        return self

    @property
    def requests_each(self) -> int:
        """Requests that one engine is given at once."""
        return self.requests or 2 * self.max_batch


class BatchConfig(Part):
    """What one optimizer step learns from."""

    tokens: int | None = Field(None, gt=0)
    """A step begins when the ready groups have so many trained tokens."""
    groups: int | None = Field(None, gt=0)
    """A step begins when so many groups are ready; instead of `tokens`."""
    row_tokens: int = Field(4096, gt=0)
    """Tokens of a row in which episodes are packed; a longer episode gets a row of its own."""
    rows: int = Field(1, gt=0)
    """Rows that are computed at once; fewer save memory, the result is the same."""

    @model_validator(mode="after")
    def _one(self) -> BatchConfig:
        if (self.tokens is None) == (self.groups is None):
            raise ValueError("give one of batch.tokens and batch.groups")
        return self


class WatchdogConfig(Part):
    """When a hang becomes an error, and how often a dead process is started again."""

    hang_s: float = Field(900.0, gt=0)
    """Seconds without a finished group or step after which the run ends with an error."""
    silent_s: float = Field(120.0, gt=0)
    """Seconds without a sign of life after which a process is killed and started again."""
    restarts: int = Field(10, ge=0)
    """Restarts of one process without any progress in between."""
    fruitless_groups: int | None = Field(None, gt=0)
    """Groups without a signal, or failed, that are played for one step at most. Then it learns from
    the groups that have one; where none has, the run ends: well if all groups were solved, else
    with an error. By default 25 times `batch.groups`, at least 200; 2000 where `batch.tokens`
    counts."""


class TrainerConfig(Part):
    """How the trainer's processes run."""

    launcher: str = ""
    """What starts the trainer's processes, such as ``torchrun --nproc-per-node 8`` or ``accelerate
    launch --num-processes 8``; one process by default."""
    device: Literal["auto", "cpu"] = "auto"
    """``cpu`` keeps the trainer off the GPUs."""
    timeout_s: float = Field(600.0, gt=0)
    """Seconds after which a trainer process that does not answer the others counts as lost."""


class RlConfig(CommandConfig):
    """One reinforcement-learning run; a run directory continues where it stopped."""

    may_change: ClassVar[frozenset[str]] = frozenset(
        {"out", "max_steps", "max_minutes", "engines", "watchdog", "trainer", "keep_checkpoints"}
        | {"checkpoint_every_steps", "checkpoint_every_minutes", "log_every", "threads"}
        | {"concurrency"}
    )

    out: Path
    """Run directory."""
    init_from: Path
    """Model directory, checkpoint or run of `cwm train` to start from."""
    environments: Annotated[dict[str, ComponentConfig], Slot("environments")] = Field(min_length=1)
    """Named environments to learn in."""
    rewards: Annotated[dict[str, ComponentConfig], Slot("rewards")] = Field({})
    """Named rewards that `tasks.NAME.rewards` refers to."""
    tasks: dict[str, TaskConfig] = Field({})
    """How each environment's tasks are played and graded, by the environment's name."""
    advantage: Annotated[ComponentConfig, Slot("advantages", default="cwm")]
    """From the returns of a group to advantages."""
    loss: Annotated[ComponentConfig, Slot("policy_losses", default="cwm")]
    """What is minimised."""
    mismatch: Literal["none", "truncated"] = "none"
    """``none``: ratios are to the engine's log-probabilities, as CWM does; ``truncated``: to the
    trainer's own at the beginning of the step, with truncated importance weights for the
    difference to the engine's."""
    mismatch_cap: float = Field(2.0, gt=0)
    """Largest importance weight."""
    optimizer: Annotated[ComponentConfig, Slot("optimizers", default={"name": "adamw", "lr": 1e-5})]
    """What turns gradients into updates."""
    schedule: Annotated[ComponentConfig | None, Slot("schedules", default=None)]
    """Learning rate over `max_steps`; constant by default."""
    warmup_steps: int = Field(0, ge=0)
    """Steps over which a constant learning rate rises from 0."""
    grad_clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    group_size: int = Field(8, ge=1)
    """Episodes per prompt."""
    batch: BatchConfig = BatchConfig(groups=16)
    """What one optimizer step learns from."""
    max_staleness: int = Field(8, ge=0)
    """Steps by which an episode's newest tokens may be older than the weights that learn from it;
    0 is synchronous training. CWM: 100."""
    concurrency: int = Field(1024, gt=0)
    """Groups in play at once, at most."""
    engines: EnginesConfig = EnginesConfig()
    """What generates."""
    trainer: TrainerConfig = TrainerConfig()
    """How the trainer's processes run."""
    watchdog: WatchdogConfig = WatchdogConfig()
    """When a hang becomes an error."""
    attention: Annotated[ComponentConfig, Slot("attentions", default="chunked")]
    """How the trainer computes attention."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the trainer's matrix products."""
    batch_invariant: bool = False
    """Whether the trainer and our own engines add up in fp64, so that they find the same
    log-probabilities whatever else is in a batch, in bf16 too; at fp64's price, and for one trainer
    process. (vLLM: start its servers with ``VLLM_BATCH_INVARIANT=1``.)"""
    recompute: Literal["none", "selective", "full"] = "none"
    """Activations that the backward pass computes anew."""
    max_steps: int | None = Field(None, gt=0)
    """Budget in optimizer steps."""
    max_minutes: float | None = Field(None, gt=0)
    """Budget in minutes, over all starts."""
    threads: int | None = Field(None, gt=0)
    """CPU threads of the trainer."""
    seed: int = Field(0, ge=0)
    """Decides the order of tasks and all sampling."""
    log_every: int = Field(1, gt=0)
    """Steps between lines of metrics.jsonl."""
    checkpoint_every_steps: int = Field(20, gt=0)
    """Steps between checkpoints (and at the end)."""
    checkpoint_every_minutes: float = Field(10.0, gt=0)
    """Minutes between checkpoints."""
    keep_checkpoints: int = Field(2, gt=0)
    """How many checkpoints to keep."""
    loggers: Annotated[list[ComponentConfig], Slot("loggers", default=())]
    """Where metrics go besides metrics.jsonl."""

    @model_validator(mode="after")
    def _coherent(self) -> RlConfig:
        if self.max_steps is None and self.max_minutes is None:
            raise ValueError("no budget: give max_steps or max_minutes")
        if self.batch_invariant and (self.recompute != "none" or self.trainer.launcher):
            raise ValueError("batch_invariant needs recompute=none and no trainer.launcher")
        for name in self.tasks:
            if name not in self.environments:
                known = ", ".join(self.environments)
                raise ValueError(f"tasks.{name}: there is no environment of that name, but {known}")
        for name in self.environments:
            for reward in self.task(name).rewards:
                if reward != "environment" and reward not in self.rewards:
                    raise ValueError(f"tasks.{name}.rewards names '{reward}', which is no reward")
        if self.schedule is not None and self.max_steps is None:
            raise ValueError("a schedule spans max_steps: give it")
        return self

    @property
    def fruitless_groups(self) -> int:
        """Groups without a signal that are played for one step at most."""
        groups = self.batch.groups
        return self.watchdog.fruitless_groups or (max(200, 25 * groups) if groups else 2000)

    def task(self, environment: str) -> TaskConfig:
        """Return how an environment's tasks are played."""
        return self.tasks.get(environment, TaskConfig())
