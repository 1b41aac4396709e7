"""Choosing trajectories to show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cwm_core.data.records import trajectory_from_row
from cwm_core.data.shards import read_shards
from cwm_core.env.trajectory import Trajectory
from cwm_core.errors import DataError

Named = tuple[str, Trajectory]
"""A trajectory's id and the trajectory."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What must hold of a trajectory; None: anything."""

    key: str | None = None
    task: str | None = None
    agent: str | None = None
    exit: str | None = None
    resolved: bool | None = None

    def holds(self, key: str, trajectory: Trajectory) -> bool:
        """Whether a trajectory is wanted."""
        return (
            self.key in (None, key)
            and (self.task is None or self.task in trajectory.task_id)
            and self.agent in (None, trajectory.metadata.get("agent"))
            and self.exit in (None, exit_of(trajectory))
            and self.resolved in (None, bool(trajectory.outcome.get("resolved")))
        )


def exit_of(trajectory: Trajectory) -> str:
    """Return why an episode ended: the environment's word, or the rollout's."""
    return str(trajectory.outcome.get("exit") or trajectory.exit_reason)


def select(data: Path, wanted: Filter, limit: int) -> list[Named]:
    """Return the first trajectories that are wanted; DataError when there are none."""
    found: list[Named] = []
    for row in read_shards(data):
        trajectory = trajectory_from_row(row)
        if wanted.holds(row["trajectory_id"], trajectory):
            found.append((row["trajectory_id"], trajectory))
            if len(found) >= limit:
                break
    if not found:
        raise DataError(f"no trajectory in {data} is as asked for", "give other filters")
    return found


def tests_of(trajectory: Trajectory) -> list[tuple[str, str, str]]:
    """Return (test, outcome before, outcome after) of the task's tests.

    Before, fail-to-pass tests fail and the others pass, as the task's validation has proven.
    """
    data = (trajectory.metadata.get("task") or {}).get("data") or {}
    verdict = trajectory.outcome.get("verdict") or {}
    after = verdict.get("outcomes") or {}
    rows = [(test, "failed") for test in data.get("fail_to_pass") or ()]
    rows += [(test, "passed") for test in data.get("pass_to_pass") or ()]
    return [(test, before, after.get(test, "not run")) for test, before in rows]
