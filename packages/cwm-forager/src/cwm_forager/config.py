"""Configuration of the commands of cwm-forager."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from cwm_core.config import CommandConfig


class DedupConfig(CommandConfig):
    """`cwm forage dedup`: near-duplicate removal."""

    data: Path
    """Directory of trajectory shards."""
    out: Path
    """Run directory; the kept trajectories go to its ``trajectories/``."""
    threshold: float = Field(0.5, gt=0, le=1)
    """Jaccard similarity from which a pair counts as near-duplicates."""
    group_by: str = "repository"
    """Key of the trajectory's or its task's metadata; only trajectories that share its value are
    compared. Those without the key form one group."""
