from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_eval.statistics import cluster_bootstrap, mean, pass_at_k, proportion, wilson


def test_wilson_matches_published_values() -> None:
    # 81 of 263: 95 % score interval 0.2553 to 0.3662 (Newcombe 1998, table I, method 3).
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = wilson(0, 20)
    assert (low, round(high, 4)) == (0.0, 0.1611)


def test_without_units_nothing_is_known() -> None:
    estimate = proportion([], [])
    assert math.isnan(estimate.value) and math.isnan(estimate.low) and estimate.count == 0
    assert estimate.to_json() == {
        "value": None, "count": 0, "low": None, "high": None, "clusters": 0,
    }  # fmt: skip


def test_independent_units_get_wilson() -> None:
    outcomes = [True] * 8 + [False] * 2
    estimate = proportion(outcomes, range(10))
    assert (estimate.low, estimate.high) == wilson(8, 10)
    assert (estimate.value, estimate.count, estimate.clusters) == (0.8, 10, 10)


def test_repeating_units_widen_the_interval() -> None:
    # Twenty programs, ten units each; all units of a program share one outcome.
    outcomes = [program < 12 for program in range(20) for _ in range(10)]
    clusters = [program for program in range(20) for _ in range(10)]
    clustered = proportion(outcomes, clusters, seed=1)
    naive = proportion(outcomes, range(200))
    assert clustered.value == naive.value == 0.6
    assert clustered.high - clustered.low > 2 * (naive.high - naive.low)
    # The resampled share of programs is binomial: standard error sqrt(0.6 * 0.4 / 20).
    assert clustered.high - clustered.low == pytest.approx(2 * 1.96 * 0.1095, abs=0.06)


def test_agreeing_units_do_not_claim_certainty() -> None:
    estimate = proportion([True] * 50, [unit % 5 for unit in range(50)])
    assert (estimate.low, estimate.high) == wilson(5, 5)
    assert mean([3, 4], [3, 4], ["a", "b"], share=True).low == wilson(2, 2)[0]


def test_one_cluster_has_no_interval() -> None:
    estimate = proportion([True, False, True], ["a"] * 3)
    assert estimate.value == pytest.approx(2 / 3)
    assert math.isnan(estimate.low) and math.isnan(estimate.high)


def test_bootstrap_is_seeded_and_weights_by_size() -> None:
    sums, sizes = [9, 0, 5, 1], [10, 10, 10, 2]
    many = np.random.default_rng(0).random(50)
    first = cluster_bootstrap(many, [1] * 50, seed=3)
    assert first == cluster_bootstrap(many, [1] * 50, seed=3)
    assert first != cluster_bootstrap(many, [1] * 50, seed=4)
    assert mean(sums, sizes, "abcd").value == pytest.approx(15 / 32)


def test_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(100):
        rates = rng.beta(2, 2, size=40)
        sums = rng.binomial(8, rates)
        low, high = cluster_bootstrap(sums, [8] * 40, seed=trial, resamples=400)
        covered += low <= 0.5 <= high
    assert 85 <= covered <= 100


@given(st.integers(1, 8), st.data())
@settings(max_examples=60)
def test_pass_at_k_is_the_share_of_draws_with_a_right_one(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    k = data.draw(st.integers(1, count))
    draws = list(itertools.combinations(range(count), k))
    share = sum(any(i < right for i in draw) for draw in draws) / len(draws)
    assert pass_at_k(count, right, k) == pytest.approx(share)


def test_pass_at_k_of_too_few_samples_is_unknown() -> None:
    assert math.isnan(pass_at_k(3, 2, 5))
    with pytest.raises(ValueError):
        pass_at_k(3, 4, 1)


def test_published_pass_at_k_of_cruxeval_generations(shared_data: Path) -> None:
    content = json.loads((shared_data / "cruxeval_sample_scored_output.json").read_text())
    scored = content["raw_scored_generations"].values()
    assert (round(content["pass_at_1"], 4), round(content["pass_at_5"], 4)) == (34.2125, 40.2867)
    for k, published in ((1, content["pass_at_1"]), (5, content["pass_at_5"])):
        mine = np.mean([pass_at_k(len(s), sum(s), k) for s in scored])
        assert 100 * mine == pytest.approx(published, abs=1e-9)
