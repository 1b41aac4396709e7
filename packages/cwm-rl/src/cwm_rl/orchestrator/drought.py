"""Bounded dynamic sampling: groups without a signal are replaced, but not without end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cwm_core.errors import RunError
from cwm_rl.rollout.group import Group, Status


@dataclass
class Drought:
    """Counts the groups that taught nothing since the trainer's last step.

    DAPO (arXiv 2503.14476) plays until a batch is full of groups with a signal; where the policy
    solves all or nothing, that never ends.
    """

    most: int
    """Groups without a signal for one step."""
    step: int = 0
    solved: int = 0
    """Solved by every member."""
    unsolved: int = 0
    """Solved by no member."""
    equal: int = 0
    """Equal returns for another reason."""
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """What went wrong in episodes of failed groups."""

    @property
    def count(self) -> int:
        """Groups without a signal, of whatever kind."""
        return self.solved + self.unsolved + self.equal + self.failed

    @property
    def is_over(self) -> bool:
        """Whether no more groups are to be played for this step."""
        return self.count >= self.most

    def begin(self, step: int) -> None:
        """Count anew when the trainer is at another step."""
        if step != self.step:
            self.step = step
            self.solved = self.unsolved = self.equal = self.failed = 0
            self.errors.clear()

    def note(self, group: Group) -> None:
        """Count a group that is not ready for the trainer."""
        if group.status is Status.FAILED:
            self.failed += 1
            reasons = (_reason(m.trajectory.outcome) for m in group.members)
            self.errors.update({reason for reason in reasons if reason})
        elif group.solved == 1:
            self.solved += 1
        elif group.solved == 0:
            self.unsolved += 1
        else:
            self.equal += 1

    def end(self) -> str:
        """Return why training is over and well; RunError when it is over and not well."""
        if self.solved == self.count:
            return (
                f"all {self.solved} groups played for step {self.step + 1} were solved by every "
                "member, so nothing is left to learn"
            )
        kinds = {
            "were solved by every member": self.solved,
            "were solved by none": self.unsolved,
            "had equal returns": self.equal,
            "failed": self.failed,
        }
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
        why = f"; most often with {self.errors.most_common(1)[0][0]}" if self.errors else ""
        raise RunError(
            f"nothing could be learnt from the {self.count} groups played for step "
            f"{self.step + 1}: {counted}{why}",
            f"{self._advice()}; the weights so far are in checkpoints/, the episodes in "
            "trajectories/ and the report; watchdog.fruitless_groups sets how many are played",
        )

    def _advice(self) -> str:
        if self.failed >= max(self.solved, self.unsolved, self.equal):
            return "repair what fails"
        if self.unsolved >= max(self.solved, self.equal):
            return "the tasks are too hard: show the model demonstrations, hints or easier tasks"
        return "the tasks that are not solved yet never are: give others, or stop here"


def _reason(outcome: Mapping[str, Any]) -> str:
    return str(outcome.get("error") or outcome.get("reward_error") or "")
