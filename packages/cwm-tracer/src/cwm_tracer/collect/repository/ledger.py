"""What is known of each test file and each trace, appended line by line and read on a restart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cwm_core.appended import AppendedEntries
from cwm_tracer.collect.repository.unit import FileResult


class Ledger:
    """``files.jsonl`` (a line per finished test file) and ``provenance.jsonl`` (one per trace)."""

    def __init__(self, directory: Path) -> None:
        self._finished = _Finished(directory / "files.jsonl")
        self._provenance = _Provenance(directory / "provenance.jsonl")
        self._open = ExitStack()
        self.files = self._finished.entries
        """Every test file that was run, with what came of it."""
        self.failures: dict[str, str] = {}
        """Test files that no worker could run, this time."""

    def __enter__(self) -> Self:
        for lines in (self._finished, self._provenance):
            self._open.enter_context(lines)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.close()

    def trace(self, provenance: Mapping[str, Any]) -> None:
        """Note where a trace comes from."""
        self._provenance.write(provenance)

    def file(self, result: FileResult, counts: Mapping[str, int]) -> None:
        """Note that a test file is done."""
        entry = {
            "file": result.file,
            "tests": len(result.untraced),
            "outcomes": dict(Counter(result.untraced.values()).most_common()),
            "differences": {name: list(pair) for name, pair in result.differences.items()},
            "flaky": result.flaky,
            "counts": dict(counts),
            "notes": result.notes,
            "seconds_untraced": round(result.seconds[0], 2),
            "seconds_traced": round(result.seconds[1], 2),
        }
        self._finished.append(entry)
        for lines in (self._finished, self._provenance):
            lines.flush()

    def failure(self, file: str, message: str) -> None:
        """Note that a test file could not be run; a later start tries it again."""
        self.failures[file] = message

    def summary(self) -> dict[str, Any]:
        """Return outcomes, differences and counts over all test files."""
        entries = self.files.values()
        outcomes: Counter[str] = Counter()
        sampled: Counter[str] = Counter()
        differences: dict[str, Any] = {}
        for entry in entries:
            outcomes.update(entry["outcomes"])
            sampled.update(entry["counts"])
            differences.update(entry["differences"])
        notes = {note["note"]: note for entry in entries for note in entry["notes"]}
        return {
            "test_files": len(self.files),
            "tests": sum(entry["tests"] for entry in entries),
            "test_outcomes": dict(outcomes.most_common()),
            "differences": differences,
            "flaky": sorted(name for entry in entries for name in entry["flaky"]),
            "not_kept": dict(sampled.most_common()),
            "notes": list(notes.values()),
            "failures": self.failures,
            "seconds_untraced": round(sum(entry["seconds_untraced"] for entry in entries), 2),
            "seconds_traced": round(sum(entry["seconds_traced"] for entry in entries), 2),
        }


class _Finished(AppendedEntries):
    """Test files by name."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.entries: dict[str, dict[str, Any]] = {}

    def _take(self, entry: dict[str, Any]) -> None:
        self.entries[entry["file"]] = entry


class _Provenance(AppendedEntries):
    """Where traces come from; nothing of it is kept in mind."""

    def _take(self, entry: dict[str, Any]) -> None:
        if not isinstance(entry, dict):
            raise TypeError
