"""From graded episodes of one task to a group with advantages."""

from __future__ import annotations

from collections.abc import Sequence

from cwm_rl.algorithm.advantage import AdvantageEstimator
from cwm_rl.rollout.grading import Graded
from cwm_rl.rollout.group import RETURN, Group, Member, Status, trained_tokens
from cwm_rl.rollout.ledger import Admission


def seal(admission: Admission, graded: Sequence[Graded], estimate: AdvantageEstimator) -> Group:
    """Give every usable episode its advantage; the others and those with none are not trained on.

    Masked episodes take no part in the group's mean. Raises DataError when the estimator refuses.
    """
    usable = [
        index
        for index, each in enumerate(graded)
        if not each.masked and trained_tokens(each.trajectory)
    ]
    returns = [graded[index].trajectory.rewards[RETURN] for index in usable]
    lengths = [trained_tokens(graded[index].trajectory) for index in usable]
    found = estimate(returns, lengths) if len(usable) > 1 else [0.0] * len(usable)
    advantages = dict(zip(usable, map(float, found), strict=True))
    members = [_member(each, advantages.get(index)) for index, each in enumerate(graded)]
    status = Status.READY if any(m.trained for m in members) else Status.NO_SIGNAL
    if not usable:
        status = Status.FAILED
    solved = sum(each.solved for each in graded) / len(graded)
    return Group(admission.id, admission.task, admission.task_id, status, tuple(members), solved)


def _member(graded: Graded, advantage: float | None) -> Member:
    if advantage is None:
        return Member(graded.trajectory, 0.0, False, graded.masked or "no action tokens")
    if advantage == 0:
        return Member(graded.trajectory, 0.0, False, "zero advantage")
    return Member(graded.trajectory, advantage, True)
