"""The list of executions that were left out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from cwm_core.appended import AppendedEntries


class Journal(AppendedEntries):
    """JSON lines ``{"trace_id", "rule", "outcome", "reason"}``."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.ids: set[str] = set()
        """Trace ids of everything left out so far."""
        self.counts: Counter[str] = Counter()
        """How many were left out, by rule."""

    def add(self, trace_id: str, rule: str, outcome: str = "", reason: str = "") -> None:
        """Append one execution, or one program whose executions are all left out."""
        if trace_id not in self.ids:
            self.append({"trace_id": trace_id, "rule": rule, "outcome": outcome, "reason": reason})

    def _take(self, entry: dict[str, Any]) -> None:
        self.ids.add(entry["trace_id"])
        self.counts[entry["rule"]] += 1
