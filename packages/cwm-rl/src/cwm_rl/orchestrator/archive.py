"""Settled groups move from their files into trajectory shards; a line of metrics for each."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from cwm_core.appended import AppendedLines
from cwm_core.data.records import TRAJECTORY_SCHEMA, trajectory_to_row
from cwm_core.data.shards import ShardWriter
from cwm_core.errors import DataError
from cwm_rl.board.files import RunFiles
from cwm_rl.rollout.group import RETURN, Group
from cwm_rl.rollout.ledger import Done, Ledger
from cwm_rl.rollout.store import GroupStore

TOGETHER = 256
"""Settled groups that make a shard; fewer after `LONGEST_S` seconds."""
LONGEST_S = 30.0


class Archive:
    """A context manager around the shards of a run's trajectories.

    A group's file is deleted only when its trajectories are in a shard on the disk.
    """

    def __init__(self, files: RunFiles, stores: tuple[GroupStore, ...]) -> None:
        self._files, self._stores = files, stores
        self._writer = ShardWriter(files.trajectories, TRAJECTORY_SCHEMA, rows_per_shard=10**9)
        self._metrics = AppendedLines(files.rollout_metrics)
        self._pending: list[int] = []
        self._last = time.monotonic()

    def __enter__(self) -> Archive:
        self._writer.__enter__()
        self._metrics.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._flush()
        self._metrics.__exit__(None, None, None)
        self._writer.__exit__(None, None, None)

    def adopt(self, ledger: Ledger) -> None:
        """Take over what a killed process left: groups stored but not in the ledger, and others.

        A stored group that the ledger has as open is done; one that is settled is archived, unless
        its trajectories are in a shard already.
        """
        stored = {group for store in self._stores for group in store.ids()}
        for group in sorted(stored & ledger.open.keys()):
            found = self._load(group)
            if found is not None:
                ledger.done(done_of(found))
        settled = sorted(stored - ledger.open.keys() - ledger.ready.keys())
        if settled:
            keys = self._writer.done_keys("trajectory_id")
            archived = {int(str(key).partition("-")[0]) for key in keys}
            for group in settled:
                if group in archived:
                    self._delete(group)
                else:
                    self.settle([group])
        ledger.sync()

    def settle(self, groups: Iterable[int]) -> None:
        """Move groups into shards: soon, together with others."""
        self._pending += groups
        if len(self._pending) >= TOGETHER or time.monotonic() - self._last > LONGEST_S:
            self._flush()

    def note(self, group: Group) -> None:
        """Write a line about a group that ended its play."""
        self._metrics.write({"time": round(time.time(), 3), **summary(group)})
        self._metrics.flush()

    def _flush(self) -> None:
        self._last = time.monotonic()
        pending, self._pending = self._pending, []
        loaded = [group for group in map(self._load, pending) if group is not None]
        for group in loaded:
            for index, member in enumerate(group.members):
                row = trajectory_to_row(member.trajectory, f"{group.id}-{index}")
                self._writer.write(row)
        if loaded:
            self._writer.flush()
        for number in pending:
            self._delete(number)

    def _load(self, group: int) -> Group | None:
        """Return a stored group; `None` if there is none, or if it is damaged."""
        for store in self._stores:
            if group in store:
                with suppress(DataError):
                    return store.load(group)
        return None

    def _delete(self, group: int) -> None:
        for store in self._stores:
            store.delete(group)


def summary(group: Group) -> dict[str, Any]:
    """Return what a report shows of a group."""
    trajectories = [member.trajectory for member in group.members]
    returns = [t.rewards[RETURN] for t in trajectories if RETURN in t.rewards]
    return {
        "id": group.id,
        "task": group.task,
        "status": group.status.value,
        "solved": round(group.solved, 4),
        "return": sum(returns) / len(returns) if returns else None,
        "tokens": [t.action_tokens for t in trajectories],
        "turns": [len(t.actions) for t in trajectories],
        "seconds": round(max(t.metadata.get("duration_s", 0.0) for t in trajectories), 3),
        "versions": [m.newest_version for m in group.members],
        "exits": [t.exit_reason for t in trajectories],
        "masked": [m.reason for m in group.members if m.reason not in ("", "zero advantage")],
    }


def done_of(group: Group) -> Done:
    """Return what the ledger keeps of a group."""
    return Done(group.id, group.status, group.generated_tokens, group.trained_tokens, group.solved)
