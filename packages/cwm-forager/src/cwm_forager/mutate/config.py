"""Configuration of `cwm forage mutate`; light, so that help and validation stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig
from cwm_core.config.base import Slot
from cwm_forager.mutate.names import OPERATORS


class MutateConfig(CommandConfig):
    """`cwm forage mutate`: bugs for an image, validated by its tests."""

    manifest: Path
    """Manifest of the image, or the directory that holds it."""
    out: Path
    """Run directory; the mutants go to its ``mutants.jsonl``."""
    count: int = Field(100, ge=1)
    """How many valid mutants to make."""
    candidates: int | None = Field(None, ge=1)
    """How many candidates to try at most; null: 20 per mutant wanted."""
    seed: int = 0
    """Seed of all choices."""
    mutators: Annotated[
        list[ComponentConfig], Field(min_length=1), Slot("mutators", default=sorted(OPERATORS))
    ]
    """What breaks the code; each is tried as often as its `weight` says, where it has one."""
    sandbox: Annotated[ComponentConfig, Slot("sandboxes", default="docker")]
    """Where tests run; one that takes an image gets the manifest's."""
    combined: float = Field(0.1, ge=0, le=1)
    """Share of candidates to which several operators are applied."""
    most_operators: int = Field(3, ge=2)
    """How many, at most."""
    workers: int = Field(2, ge=1)
    """Sandboxes at once."""
    batch: int = Field(6, ge=1)
    """Candidates per warm process."""
    selection: bool = True
    """Run the tests that can reach a change alone; otherwise all of them for every candidate."""
    test_s: float = Field(60.0, gt=0)
    """Seconds that a test may take while what it reaches is recorded; that is slow."""

    may_change = frozenset({"out", "workers", "batch", "count", "candidates"})
