from __future__ import annotations

from cwm_core.trace.codec import Role
from cwm_eval.benchmarks.teacher_forced import FrameScore, score_frames

C, E, S, A, V, P, D = (
    Role.CONTEXT, Role.EVENT, Role.STATE, Role.ACTION, Role.VALUE, Role.SEPARATOR, Role.END,
)  # fmt: skip

# Context, call frame 0, line frame 1 (two state tokens), return frame 2, end token.
ROLES = [C, P, E, S, P, A, P, E, S, S, P, A, P, E, P, A, P, V, V, P, D]
FRAMES = [-1, -1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3]
IDS = list(range(100, 121))
EVENTS = ["call", "line", "return"]


def scores_with_mistakes_at(*positions: int) -> list[FrameScore]:
    greedy = [0 if t in positions else token for t, token in enumerate(IDS)]
    return score_frames(IDS, ROLES, FRAMES, greedy, EVENTS)


def test_all_right() -> None:
    line, returned = scores_with_mistakes_at()
    assert line == FrameScore("line", 6, 6, True, True, True, None)
    assert returned == FrameScore("return", 8, 8, True, None, True, True)


def test_context_and_first_call_do_not_count() -> None:
    assert scores_with_mistakes_at(0, 1, 2, 3, 4, 5, 6) == scores_with_mistakes_at()


def test_each_part_is_judged_by_its_own_tokens() -> None:
    assert scores_with_mistakes_at(7)[0] == FrameScore("line", 6, 5, False, True, False, None)
    assert scores_with_mistakes_at(9)[0] == FrameScore("line", 6, 5, False, False, True, None)
    assert scores_with_mistakes_at(10)[0] == FrameScore("line", 6, 5, False, True, True, None)
    assert scores_with_mistakes_at(11)[0] == FrameScore("line", 6, 5, False, True, False, None)
    assert scores_with_mistakes_at(17)[1] == FrameScore("return", 8, 7, False, None, True, False)


def test_the_end_token_belongs_to_the_last_frame() -> None:
    line, returned = scores_with_mistakes_at(20)
    assert line.exact
    assert returned == FrameScore("return", 8, 7, False, None, True, True)


def test_rows_give_scores_back() -> None:
    for score in scores_with_mistakes_at(8, 18):
        assert FrameScore.from_row(score.to_row()) == score
