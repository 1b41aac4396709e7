"""Configuration of the commands of cwm-rl."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig, Slot


class ScoreConfig(CommandConfig):
    """`cwm rl score`: score stored trajectories."""

    data: Path
    """Directory of trajectory shards."""
    out: Path
    """Run directory; the scored trajectories go to its ``trajectories/``."""
    reward: Annotated[ComponentConfig, Slot("rewards")]
    """What to score with."""
    key: str = ""
    """Name under which the score is stored; empty: the reward's own name."""
    concurrency: int = Field(32, ge=1)
    """Trajectories scored at once."""

    @property
    def reward_key(self) -> str:
        """Name under which the score is stored."""
        return self.key or self.reward.name


class DemonstrateConfig(CommandConfig):
    """`cwm rl demonstrate`: play tasks by the actions that they carry, for a first fine-tuning."""

    out: Path
    """Run directory; the trajectories go to its ``trajectories/``."""
    environment: Annotated[ComponentConfig, Slot("environments")]
    """Whose tasks to play."""
    tokenizer: Path
    """Tokenizer of the model that is to learn from them."""
    key: str = "demonstration"
    """Key in a task's data of its action, or list of actions, as text."""
    end: Literal["eot", "end_of_text"] = "eot"
    """Special token that ends an action."""
    split: str = "train"
    """Split of the tasks."""
    limit: int | None = Field(None, gt=0)
    """Play so many tasks, the first."""
