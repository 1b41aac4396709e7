"""Teacher-forced scores of one trace: what a model predicts after every true prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from cwm_core.trace.codec import Role

FIELDS = ("event", "tokens", "right_tokens", "exact", "state", "action", "value")


@dataclass(frozen=True, slots=True)
class FrameScore:
    """How well one frame was predicted, token by token, each after the true tokens before it.

    `exact`: every token of the frame is the greedy one, its separator included and, for the last
    frame of a complete trace, the end-of-text token. `state`: the locals of a call or line frame
    (`None` on others). `action`: event token and source line. `value`: the value of a return or
    exception frame (`None` on others).
    """

    event: str
    tokens: int
    right_tokens: int
    exact: bool
    state: bool | None
    action: bool
    value: bool | None

    def to_row(self) -> list[Any]:
        """Return the values in the order of `FIELDS`."""
        return [getattr(self, name) for name in FIELDS]

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> FrameScore:
        """Rebuild a score from `to_row`."""
        return cls(*row)


def score_frames(
    ids: Sequence[int],
    roles: Sequence[int],
    frame_index: Sequence[int],
    greedy_ids: Sequence[int],
    events: Sequence[str],
) -> list[FrameScore]:
    """Score the frames after the first call frame; T tokens in each of the first four arguments.

    `events[i]` is the event of frame i. The end token, whose frame index is the number of frames,
    is judged with the last frame.
    """
    last = len(events) - 1
    right = [true == greedy for true, greedy in zip(ids, greedy_ids, strict=True)]
    positions = (t for t in range(len(ids)) if frame_index[t] > 0)
    frames = groupby(positions, key=lambda t: min(frame_index[t], last))
    return [_score_frame(events[i], list(where), roles, right) for i, where in frames if i > 0]


def _score_frame(
    event: str, where: list[int], roles: Sequence[int], right: Sequence[bool]
) -> FrameScore:
    def part(*wanted: Role) -> bool | None:
        found = [right[t] for t in where if roles[t] in wanted]
        return all(found) if found else None

    hits = [right[t] for t in where]
    return FrameScore(
        event=event,
        tokens=len(hits),
        right_tokens=sum(hits),
        exact=all(hits),
        state=part(Role.STATE),
        action=bool(part(Role.EVENT, Role.ACTION)),
        value=part(Role.VALUE),
    )
