"""Keeping kinds of traces in proportion while they come in any order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any

HELD = 256
"""Most rows of one kind that wait for others, which bounds memory."""

Row = Mapping[str, Any]


def kind_of(origin: str) -> str:
    """Return the kind of a trace: what its origin says before the colon."""
    return origin.partition(":")[0]


class Balance:
    """Lets rows of several kinds through so that their numbers keep given proportions.

    A row that would tip the balance waits until others have caught up; the longest waiting is given
    up when more than `held` of its kind do. At any time the numbers deviate from the proportions by
    less than one row of the rarest kind.
    """

    def __init__(self, weights: Mapping[str, float], held: int = HELD) -> None:
        self._weights = {kind: weight for kind, weight in weights.items() if weight > 0}
        self._slack = max(1 / weight for weight in self._weights.values())
        self._waiting: dict[str, deque[Row]] = {kind: deque() for kind in self._weights}
        self._held = held
        self.counts: Counter[str] = Counter()
        """Rows let through, by kind."""

    def resume(self, origins: Iterable[str]) -> None:
        """Count what was let through before."""
        self.counts.update(map(kind_of, origins))

    def offer(self, row: Row) -> tuple[list[Row], list[Row]]:
        """Take a row; return those that may be written now and those that are given up."""
        kind = kind_of(row["origin"])
        if kind not in self._weights:
            return [], [row]
        waiting = self._waiting[kind]
        waiting.append(row)
        written = self._release()
        return written, [waiting.popleft()] if len(waiting) > self._held else []

    def rest(self) -> list[Row]:
        """Return what still waits."""
        return [row for waiting in self._waiting.values() for row in waiting]

    def _release(self) -> list[Row]:
        written: list[Row] = []
        while True:
            ready = [kind for kind, rows in self._waiting.items() if rows and self._fits(kind)]
            if not ready:
                return written
            kind = min(ready, key=self._level)
            written.append(self._waiting[kind].popleft())
            self.counts[kind] += 1

    def _fits(self, kind: str) -> bool:
        others = [self._level(other) for other in self._weights if other != kind]
        after = (self.counts[kind] + 1) / self._weights[kind]
        return not others or after <= min(others) + self._slack

    def _level(self, kind: str) -> float:
        return self.counts[kind] / self._weights[kind]
