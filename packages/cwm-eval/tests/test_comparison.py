from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_eval.comparison import (
    compare,
    detectable_difference,
    problems_needed,
    sign_flip_p_value,
)
from cwm_eval.statistics import majority_at_k


def test_p_value_of_discordant_pairs_is_mcnemars_exact_one() -> None:
    from scipy import stats

    deltas = [1.0] * 9 + [-1.0] * 2 + [0.0] * 30
    assert sign_flip_p_value(deltas) == pytest.approx(stats.binomtest(2, 11).pvalue)


def test_many_pairs_are_drawn_and_close_to_exact() -> None:
    from scipy import stats

    deltas = [1.0] * 40 + [-1.0] * 22
    found = sign_flip_p_value(deltas, seed=1)
    assert found == pytest.approx(stats.binomtest(22, 62).pvalue, abs=0.01)
    assert found == sign_flip_p_value(deltas, seed=1)
    assert sign_flip_p_value([1.0] * 60) > 0


def test_p_values_of_equal_runs_are_uniform_enough() -> None:
    rng = np.random.default_rng(0)
    small = [
        sign_flip_p_value(rng.normal(size=30), draws=400, seed=trial) < 0.1 for trial in range(200)
    ]
    assert 8 <= sum(small) <= 36


def test_runs_are_compared_on_shared_problems() -> None:
    first = {"a": 0.0, "b": 1.0, "c": 0.5, "x": 1.0}
    second = {"a": 1.0, "b": 1.0, "c": 0.75, "y": 0.0, "z": 0.0}
    found = compare(first, second)
    assert (found.problems, found.better, found.worse) == (3, 2, 0)
    assert found.difference == pytest.approx(1.25 / 3)
    assert (found.only_first, found.only_second) == (1, 2)
    assert found.low <= found.difference <= found.high
    nothing = compare({"a": 1.0}, {"b": 1.0})
    assert nothing.problems == 0 and nothing.to_json()["p_value"] is None
    assert compare(first, first).p_value == 1.0


def test_sample_size_and_detectable_difference_agree() -> None:
    # Connor 1987: p10 = 0.2, p01 = 0.1, 80 % power: 234 or so pairs.
    needed = problems_needed(0.5, 0.6, discordant=0.3)
    assert 228 <= needed <= 236
    assert detectable_difference(needed, 0.3) == pytest.approx(0.1, abs=0.001)
    assert problems_needed(0.5, 0.55) > problems_needed(0.5, 0.6)
    assert math.isnan(detectable_difference(3, 0.01))
    for wrong in ((0.5, 0.5), (1.2, 0.3)):
        with pytest.raises(ValueError):
            problems_needed(*wrong)
    with pytest.raises(ValueError):
        problems_needed(0.1, 0.9, discordant=0.2)


def test_power_of_the_advised_sample_size() -> None:
    needed = problems_needed(0.4, 0.6, discordant=0.4)
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(60):
        kinds = rng.choice(3, size=needed, p=[0.3, 0.1, 0.6])
        deltas = np.select([kinds == 0, kinds == 1], [1.0, -1.0], 0.0)
        hits += sign_flip_p_value(deltas, draws=500, seed=trial) < 0.05
    assert 0.65 <= hits / 60 <= 0.95


def test_majority() -> None:
    assert majority_at_k(["a", "a", "b"], [True, True, False]) == 1.0
    assert majority_at_k(["a", "b"], [True, False]) == 0.5
    assert majority_at_k([None, None, "b"], [False, False, True]) == 1.0
    assert majority_at_k([None], [False]) == 0.0
    assert math.isnan(majority_at_k(["a"], [True], k=2))
    many = majority_at_k(["a"] * 20 + ["b"] * 10, [True] * 20 + [False] * 10, k=9, seed=3)
    assert 0.8 < many < 1.0
    with pytest.raises(ValueError):
        majority_at_k(["a"], [True, False])


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=6), st.data())
@settings(max_examples=40)
def test_majority_at_k_is_the_mean_over_subsets(votes: list[str], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(votes)))
    right = [vote == "a" for vote in votes]
    shares = []
    for subset in itertools.combinations(votes, k):
        a, b = subset.count("a"), subset.count("b")
        shares.append(1.0 if a > b else 0.5 if a == b else 0.0)
    assert majority_at_k(votes, right, k) == pytest.approx(sum(shares) / len(shares))
