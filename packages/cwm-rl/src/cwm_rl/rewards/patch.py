"""Likeness of patches, file by file."""

from __future__ import annotations

import difflib
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from cwm_core.env.environment import Task
from cwm_core.env.trajectory import Trajectory
from cwm_core.errors import DataError
from cwm_rl.rewards.config import PatchSimilarityConfig

_FILE = re.compile(r"^diff --git a/(?P<old>.+?) b/(?P<new>.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PatchSimilarity:
    """The reward of `PatchSimilarityConfig`."""

    config: PatchSimilarityConfig

    async def score(self, task: Task, trajectory: Trajectory) -> float:
        """Score by the outcome's ``passed`` and ``patch``; DataError without a true patch."""
        scale, threshold = self.config.scale, self.config.threshold
        if trajectory.outcome.get("passed"):
            return scale - 1
        if threshold is None:
            return -1.0
        if self.config.oracle not in task.data:
            raise DataError(f"task {task.id!r} has no {self.config.oracle!r} in its data")
        found = similarity(
            str(trajectory.outcome.get("patch") or ""), str(task.data[self.config.oracle])
        )
        return threshold * scale - 1 if found >= threshold else -1.0


def similarity(patch: str, oracle: str) -> float:
    """Return the mean likeness, 0 to 1, over the files that `oracle` changes.

    Of a file the changed lines are compared by `difflib.SequenceMatcher`; one that `patch` leaves
    alone counts 0. Source of the measure: SWE-RL (arXiv 2502.18449), section 2.
    """
    wanted, found = changed_lines(oracle), changed_lines(patch)
    if not wanted:
        return 0.0
    return statistics.fmean(
        difflib.SequenceMatcher(None, found.get(path, ()), lines, autojunk=False).ratio()
        for path, lines in wanted.items()
    )


def changed_lines(patch: str) -> Mapping[str, tuple[str, ...]]:
    """Return the added and removed lines of every file of a git patch, signs included."""
    starts = list(_FILE.finditer(patch))
    ends = [match.start() for match in starts[1:]] + [len(patch)]
    return {
        match["new"]: tuple(
            line
            for line in patch[match.end() : end].splitlines()
            if line[:1] in ("+", "-") and not line.startswith(("+++ ", "--- "))
        )
        for match, end in zip(starts, ends)
    }
