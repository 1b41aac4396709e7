"""The record of a validated mutant, as a line of ``mutants.jsonl``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cwm_core.errors import DataError

MUTANTS = "mutants.jsonl"


class MutantRecord(BaseModel):
    """A change that breaks some reliably passing tests of an image, and leaves others passing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mutant_id: str
    """``NAME.COMMIT8.OPERATORS.HASH``: unique among all mutants of all images."""
    name: str
    """Name of the repository."""
    commit: str
    """The commit that the patch applies to."""
    image: str
    """Tag of the image."""
    operators: tuple[str, ...]
    """Names of the operators that were applied, in order."""
    patch: str
    """Unified diff that introduces the bug; the fix is its reverse."""
    paths: tuple[str, ...]
    """Files that it changes, relative to the repository."""
    functions: tuple[str, ...]
    """Qualified names of what it changes, parallel to `operators`."""
    fail_to_pass: tuple[str, ...]
    """Reliable tests that ran and failed on the mutant, sorted; the fix makes them pass."""
    pass_to_pass: tuple[str, ...]
    """Reliable tests that pass with and without the bug, sorted."""
    not_run: tuple[str, ...] = ()
    """Reliable tests that did not run on the mutant: their file could not be collected, or they
    vanished. Neither fail-to-pass nor pass-to-pass."""
    tests_run: int = 0
    """How many tests were run to know this; the others cannot reach the change."""
    duration_s: float = 0.0
    """Seconds of the run."""
    seed: int = 0
    """Seed of the random choices."""
    explanation: str = ""
    """What the rewriting model said about its bug; empty for other operators."""


def read_mutants(path: Path) -> Iterator[MutantRecord]:
    """Yield the records of a ``mutants.jsonl``, given its file or directory.

    Half a line at the end is left out; DataError names any other line that is no record.
    """
    path = path / MUTANTS if path.is_dir() else path
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        hint = "make some with `cwm forage mutate`"
        raise DataError(f"cannot read mutants at {path}: {error.strerror}", hint) from error
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            return
        try:
            yield MutantRecord.model_validate_json(line)
        except ValidationError as error:
            raise DataError(f"{path} line {number} is no record of a mutant: {error}") from error
