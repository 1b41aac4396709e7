"""What is known of each test file and each trace, appended line by line and read on a restart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from cwm_core.atomic import disk_errors
from cwm_tracer.collect.repository.unit import FileResult


class Ledger:
    """``files.jsonl`` (a line per finished test file) and ``provenance.jsonl`` (one per trace)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[str, IO[str]] = {}
        self.files: dict[str, dict[str, Any]] = {}
        """Every test file that was run, with what came of it."""
        self.failures: dict[str, str] = {}
        """Test files that no worker could run, this time."""

    def __enter__(self) -> Self:
        with disk_errors(self._directory):
            for name in ("files.jsonl", "provenance.jsonl"):
                path = self._directory / name
                whole = _whole_lines(path)
                if name == "files.jsonl":
                    self.files = {entry["file"]: entry for entry in map(json.loads, whole)}
                self._open[name] = path.open("r+" if path.exists() else "w", encoding="utf-8")
                self._open[name].truncate(sum(map(len, whole)))
                self._open[name].seek(0, 2)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in self._open.values():
            file.close()

    def trace(self, provenance: Mapping[str, Any]) -> None:
        """Note where a trace comes from."""
        self._add("provenance.jsonl", provenance)

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
        self.files[result.file] = entry
        self._add("files.jsonl", entry)
        for file in self._open.values():
            with disk_errors(self._directory):
                file.flush()

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

    def _add(self, name: str, entry: Mapping[str, Any]) -> None:
        with disk_errors(self._directory / name):
            self._open[name].write(json.dumps(entry) + "\n")


def _whole_lines(path: Path) -> list[str]:
    """Return the lines up to the first one that a killed process left unfinished."""
    if not path.exists():
        return []
    whole = []
    for line in path.read_text(encoding="ascii", errors="replace").splitlines(keepends=True):
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if not line.endswith("\n") or not isinstance(entry, dict):
            break
        whole.append(line)
    return whole
