"""Back-pressure: how many groups may be outstanding, so that nothing becomes too old."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cwm_rl.rollout.ledger import Done


@dataclass
class Admission:
    """Decides whether another group may begin.

    Outstanding are groups in play and those that wait for the trainer. They may be at most what
    `max_staleness` + 1 optimizer steps take: then one that is admitted now is trained on at most
    `max_staleness` steps later, if groups end in the order of their admission. With a bound of 0 a
    step's groups are played, learnt from, and only then the next begin: synchronous training.
    """

    max_staleness: int
    groups: int | None
    """Groups of a step, or `None` where `tokens` counts."""
    tokens: int | None
    """Trained tokens of a step."""
    concurrency: int
    """Groups in play at once, at most."""
    _mean_tokens: float = 0.0
    _seen: int = 0

    def learn(self, done: Done) -> None:
        """Take into account how many trained tokens a ready group had."""
        if done.trained_tokens:
            self._seen += 1
            weight = max(1 / self._seen, 0.02)
            self._mean_tokens += weight * (done.trained_tokens - self._mean_tokens)

    def allows(self, playing: int, waiting: Iterable[Done]) -> bool:
        """Whether one more group may begin, given those in play and those that wait."""
        if playing >= self.concurrency:
            return False
        steps = self.max_staleness + 1
        if self.groups is not None:
            return playing + sum(1 for _ in waiting) < steps * self.groups
        assert self.tokens is not None
        stored = sum(done.trained_tokens for done in waiting)
        return stored + playing * self._mean_tokens < steps * self.tokens
