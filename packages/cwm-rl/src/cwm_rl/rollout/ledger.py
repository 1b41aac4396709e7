"""The ledger: which prompts were admitted and what became of each, written before it is acted on.

A line per event. Reading them again restores where a killed process was: groups that were admitted
but not done are played again, with the same seeds, so that no kind of episode is favoured by a
restart.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from cwm_core.appended import AppendedEntries
from cwm_core.atomic import disk_errors
from cwm_rl.rollout.group import Status


@dataclass(frozen=True, slots=True)
class Admission:
    """A prompt that is to be played by a group of episodes."""

    id: int
    task: str
    """Name of the environment in the configuration."""
    position: int
    """Place in that environment's endless order of tasks."""
    task_id: str
    seed: int
    version: int
    """Version of the weights at admission."""
    max_tokens: int
    """Tokens of an action, at most."""
    hint: bool = False
    """Whether the task's hint is shown."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a group ended its play."""

    id: int
    status: Status
    tokens: int
    """Generated tokens."""
    trained_tokens: int
    solved: float
    """Share of its episodes that solved the task."""


class Ledger(AppendedEntries):
    """The events of a run, and what they add up to.

    Accounting: every id below `next_id` is in exactly one of `open`, `ready` and `final`.
    """

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.open: dict[int, Admission] = {}
        """Admitted, in play."""
        self.ready: dict[int, Done] = {}
        """Stored, and not known to be used by a checkpoint that will stay."""
        self.final: Counter[Status] = Counter()
        """How many ended how."""
        self.next_id = 0
        self.tokens: Counter[str] = Counter()
        """Generated tokens by environment."""
        self.groups: Counter[str] = Counter()
        """Groups that ended their play, by environment."""
        self.positions: dict[str, int] = {}
        """Last position admitted, by environment."""
        self.solve_rates: dict[tuple[str, str], float] = {}
        """Share of solved episodes when the task was last played, by environment and task id."""
        self.trained_at: dict[int, int] = {}
        """Step in which a group was trained on, for those that are final in this process."""

    def admit(self, admission: Admission) -> None:
        """Write down, before it is played, that a prompt was taken."""
        self.append({"kind": "admit", **asdict(admission)})

    def done(self, done: Done) -> None:
        """Write down how a group ended its play."""
        self.append({"kind": "done", **asdict(done), "status": done.status.value})

    def used(self, group: int, status: Status, step: int) -> None:
        """Write down what the trainer made of a ready group, for good."""
        self.append({"kind": "used", "id": group, "status": status.value, "step": step})

    def sync(self) -> None:
        """Wait until all events are on the disk."""
        self.flush()
        with disk_errors(self.path):
            os.fsync(self._opened().fileno())

    def problems(self) -> list[str]:
        """Say where the accounting is not exact; empty if it is."""
        count = len(self.open) + len(self.ready) + self.final.total()
        if count != self.next_id:
            return [f"{self.next_id} groups were admitted, {count} are accounted for"]
        return []

    def _take(self, entry: dict[str, Any]) -> None:
        entry = dict(entry)
        kind = entry.pop("kind")
        if kind == "admit":
            self._take_admission(Admission(**entry))
        elif kind == "done":
            self._take_done(Done(**{**entry, "status": Status(entry["status"])}))
        elif kind == "used":
            self.ready.pop(entry["id"])
            self.final[Status(entry["status"])] += 1
            self.trained_at[entry["id"]] = entry["step"]
        else:
            raise ValueError(kind)

    def _take_admission(self, admission: Admission) -> None:
        if admission.id != self.next_id:
            raise ValueError(f"group {admission.id} after {self.next_id - 1}")
        self.open[admission.id] = admission
        self.next_id += 1
        self.positions[admission.task] = admission.position

    def _take_done(self, done: Done) -> None:
        admission = self.open.pop(done.id)
        self.tokens[admission.task] += done.tokens
        self.groups[admission.task] += 1
        self.solve_rates[admission.task, admission.task_id] = done.solved
        if done.status is Status.READY:
            self.ready[done.id] = done
        else:
            self.final[done.status] += 1
