"""Configuration of `cwm forage run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig, Slot


class ForageConfig(CommandConfig):
    """`cwm forage run`: let agents play tasks, and keep every trajectory."""

    may_change: ClassVar[frozenset[str]] = frozenset({"out", "concurrency", "retries", "engine"})

    out: Path
    """Run directory; the trajectories go to its ``trajectories/``."""
    environment: Annotated[ComponentConfig, Slot("environments")]
    """What is played, such as `swe`."""
    agents: Annotated[dict[str, ComponentConfig], Slot("agents")] = Field(min_length=1)
    """Who plays, by a name of yours: ``agents=oracle``, or ``agents.mine.name=llm``."""
    engine: Annotated[ComponentConfig | None, Slot("engines", default=None)]
    """What produces tokens for agents that need it."""
    tokenizer: Path | None = None
    """Directory with the tokenizer of the engine's model; null: the engine's own, where it has
    one. Without one the environment shows text, and token counts are estimates."""
    split: str = "train"
    """Split of the tasks."""
    limit: int | None = Field(None, ge=1)
    """Number of tasks; null: all."""
    samples: int = Field(1, ge=1)
    """Episodes per task and agent."""
    concurrency: int = Field(4, ge=1)
    """Episodes at once, each with its own sandboxes."""
    timeout_s: float | None = Field(3600.0, gt=0)
    """Seconds per episode; null: any."""
    retries: int = Field(2, ge=0)
    """Further tries of an episode whose sandbox or engine failed."""
    rows_per_shard: int = Field(256, ge=1)
    """Trajectories per shard."""
