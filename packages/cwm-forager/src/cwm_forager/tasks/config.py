"""Configuration of `cwm forage tasks` and `cwm forage validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config import CommandConfig, Slot


class TasksConfig(CommandConfig):
    """`cwm forage tasks`: make instances from data sets, mutants or a repository's history."""

    source: Path
    """A file of records, the run directory of mutants, or a git repository."""
    out: Path
    """JSON lines to write."""
    format: Literal["swe-bench", "swe-smith", "swe-gym", "r2e-gym", "mutants", "history"]
    """What `source` is. Tasks of a `history` name no tests yet; `cwm forage validate` finds out."""
    limit: int | None = Field(None, ge=1)
    """Number of instances; null: all."""
    manifest: Path | None = None
    """For `mutants` and `history`: the manifest of the image, or its directory."""
    archive: Path | None = None
    """For `mutants` and `history`: a tar file of the repository, for sandboxes without images."""
    python: str = ""
    """For `mutants` and `history`: interpreter that runs the tests; empty: that of the manifest."""
    environment: dict[str, str] = Field(default_factory=dict)
    """For `history`: variables that tests need, besides the manifest's."""
    statements: Literal["template", "llm"] = "template"
    """Who writes problem statements where the source has none."""
    engine: Annotated[ComponentConfig | None, Slot("engines", default=None)]
    """The model that writes them."""
    tokenizer: Path | None = None
    """Its tokenizer; null: the engine's own."""


class ValidateConfig(CommandConfig):
    """`cwm forage validate`: prove that tasks are sound."""

    may_change: ClassVar[frozenset[str]] = frozenset({"out", "concurrency"})

    tasks: Path
    """JSON lines of instances."""
    out: Path
    """Run directory: ``report.jsonl``, ``report.json`` and the sound ``tasks.jsonl``."""
    sandbox: Annotated[ComponentConfig, Slot("sandboxes", default="local")]
    """Where tests run."""
    concurrency: int = Field(2, ge=1)
    """Instances at once."""
    search_copies: bool = True
    """Look for copies of the repaired files elsewhere in the sandbox, where an agent could read
    them."""
    keep_reliable: bool = True
    """Leave out tests that do not behave as the instance says, instead of refusing the instance,
    as long as one fail-to-pass test is left."""
