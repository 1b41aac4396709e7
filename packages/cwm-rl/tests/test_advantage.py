"""Advantages against values computed by hand, and their defining properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_core.env.trajectory import Trajectory, Turn
from cwm_core.errors import DataError
from cwm_core.plugins import registry
from cwm_core.testing.conformance import check_component, declared
from cwm_rl.algorithm.advantage import (
    AdvantageEstimator,
    group_centred,
    group_normalised,
    informative,
    leave_one_out,
    length_weighted,
)
from cwm_rl.algorithm.filters import has_gibberish, is_gibberish

RETURNS = st.lists(st.floats(-100, 100), min_size=2, max_size=8)


def test_length_weighted_by_hand() -> None:
    # mean = (1*10 + -1*30) / 40 = -0.5
    assert length_weighted([1.0, -1.0], [10, 30]) == [1.5, -0.5]


def test_group_normalised_by_hand() -> None:
    # mean 2, sample deviation sqrt((1 + 0 + 1) / 2) = 1
    assert group_normalised([1.0, 2.0, 3.0], [1, 1, 1], epsilon=0.0) == [-1.0, 0.0, 1.0]
    assert group_normalised([1.0, 2.0, 3.0], [1, 1, 1], epsilon=1.0) == [-0.5, 0.0, 0.5]


def test_group_centred_by_hand() -> None:
    assert group_centred([4.0, 0.0, -1.0], [9, 9, 9]) == [3.0, -1.0, -2.0]


def test_leave_one_out_by_hand() -> None:
    # 4 - (0 - 1)/2, 0 - (4 - 1)/2, -1 - (4 + 0)/2
    assert leave_one_out([4.0, 0.0, -1.0], [9, 9, 9]) == [4.5, -1.5, -3.0]


@given(returns=RETURNS, data=st.data())
def test_length_weighted_advantages_cancel_over_tokens(
    returns: list[float], data: st.DataObject
) -> None:
    lengths = data.draw(
        st.lists(st.integers(1, 1000), min_size=len(returns), max_size=len(returns))
    )
    advantages = length_weighted(returns, lengths)
    assert sum(a * n for a, n in zip(advantages, lengths)) == pytest.approx(0, abs=1e-6)


@given(RETURNS)
def test_equal_lengths_give_the_plain_mean(returns: list[float]) -> None:
    lengths = [7] * len(returns)
    assert length_weighted(returns, lengths) == pytest.approx(group_centred(returns, lengths))


@given(RETURNS)
def test_leave_one_out_is_a_scaled_centring(returns: list[float]) -> None:
    lengths = [1] * len(returns)
    scale = len(returns) / (len(returns) - 1)
    centred = [scale * advantage for advantage in group_centred(returns, lengths)]
    assert leave_one_out(returns, lengths) == pytest.approx(centred, abs=1e-9)


def test_a_group_of_one() -> None:
    assert length_weighted([3.0], [5]) == group_normalised([3.0], [5]) == [0.0]
    with pytest.raises(DataError, match="at least two"):
        leave_one_out([3.0], [5])


def test_bad_groups_are_refused() -> None:
    with pytest.raises(DataError, match="2 returns and 1 lengths"):
        length_weighted([1.0, 2.0], [3])
    with pytest.raises(DataError, match="no episode"):
        length_weighted([1.0, 2.0], [0, 0])
    with pytest.raises(DataError):
        group_centred([], [])


def test_equal_returns_teach_nothing() -> None:
    assert informative(length_weighted([1.0, 1.0], [3, 9])) == [False, False]
    assert informative([0.5, -1e-9, 0.0], tolerance=1e-6) == [True, False, False]


BOUND = -math.log(128256) - 2


@pytest.mark.parametrize(
    ("token", "logprob", "expected"),
    [
        (100_001, BOUND - 0.01, True),
        (100_000, BOUND - 0.01, False),
        (100_001, BOUND + 0.01, False),
        (5, -50.0, False),
    ],
)
def test_gibberish_needs_a_rare_and_unlikely_token(
    token: int, logprob: float, expected: bool
) -> None:
    assert is_gibberish([7, token], [-0.1, logprob]) is expected


def test_gibberish_is_looked_for_in_actions_alone() -> None:
    bad = {"token_ids": (127_000,), "logprobs": (-20.0,)}
    shown = Trajectory("t", (Turn("observation", "", **bad), Turn("action", "text only")))
    assert not has_gibberish(shown)
    assert has_gibberish(Trajectory("t", (Turn("prompt", ""), Turn("action", "", **bad))))
    assert not has_gibberish(Trajectory("t", (Turn("action", "", **bad),)), vocab_size=10**9)


@pytest.mark.parametrize("name", ["cwm", "grpo", "dr_grpo", "rloo"])
def test_components_build_estimators(name: str) -> None:
    estimator = registry().make("advantages", name).build()
    assert isinstance(estimator, AdvantageEstimator)
    assert estimator([1.0, 1.0], [1, 2]) == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize(("kind", "component"), declared("cwm-rl"), ids=str)
def test_declarations_keep_the_rules(kind: str, component: object) -> None:
    check_component(kind, component)  # type: ignore[arg-type]
