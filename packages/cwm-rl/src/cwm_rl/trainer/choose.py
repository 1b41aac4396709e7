"""Which stored groups the next step learns from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from cwm_core.errors import DataError
from cwm_rl.rollout.group import Group, Member
from cwm_rl.rollout.store import GroupStore
from cwm_rl.train_config import BatchConfig


class Queue:
    """Groups that wait, oldest first; files are read once."""

    def __init__(self, store: GroupStore, batch: BatchConfig, max_staleness: int) -> None:
        self._store, self._batch, self._bound = store, batch, max_staleness
        self._known: dict[int, Group] = {}
        self.newly_stale: list[int] = []
        """Groups found too old by the last look, which are to be given up."""

    def take(self, step: int, used: Iterable[int], *, no_more: bool = False) -> list[Group] | None:
        """Return the groups of the next step, `None` when there are not enough yet.

        With `no_more` fewer are enough: no others will come for this step. Members whose newest
        token is more than `max_staleness` steps old are not trained on; a group without any other
        is in `newly_stale`.
        """
        known_used = set(used)
        self.newly_stale = []
        waiting = [group for group in self._store.ids() if group not in known_used]
        self._known = {group: self._known.get(group) or self._load(group) for group in waiting}
        chosen: list[Group] = []
        tokens = 0
        for number in waiting:
            group = fresh(self._known[number], step, self._bound)
            if not any(member.trained for member in group.members):
                self.newly_stale.append(number)
                continue
            chosen.append(group)
            tokens += group.trained_tokens
            if self._is_full(len(chosen), tokens):
                return chosen
        return chosen if no_more and chosen else None

    def __len__(self) -> int:
        return len(self._known)

    def _is_full(self, groups: int, tokens: int) -> bool:
        if self._batch.groups is not None:
            return groups >= self._batch.groups
        return tokens >= (self._batch.tokens or 0)

    def _load(self, group: int) -> Group:
        try:
            return self._store.load(group)
        except DataError as error:
            error.hint = "it was whole when it was written: is the disk damaged?"
            raise


def fresh(group: Group, step: int, bound: int) -> Group:
    """Return a group whose members are trained on only if their newest token is new enough."""

    def check(member: Member) -> Member:
        if not member.trained or age(member, step) <= bound:
            return member
        return replace(member, trained=False, reason="stale")

    return replace(group, members=tuple(map(check, group.members)))


def age(member: Member, step: int) -> int:
    """Return how many steps older than the weights a member's newest token is, at least 0.

    Tokens of weights that were lost with a crash can be newer; unknown ones count as new.
    """
    newest = member.newest_version
    return 0 if newest is None else max(0, step - newest)
