"""Mixers: shares of tokens by weight, size, stage and epoch."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cwm_core.errors import ConfigError
from cwm_train.data.mixers import Curriculum, Sequential, Stage, Staged, Weighted

SIZES = {"a": np.full(100, 10), "b": np.full(300, 10)}
"""Two sources of 1000 and 3000 tokens."""


def shares(mixer, start: float, end: float) -> dict[str, float]:
    """What a mixer gives to each source between two moments, as parts of one."""
    before, after = mixer.delivered(start), mixer.delivered(end)
    return {name: (after[name] - before[name]) / (end - start) for name in after}


def test_shares_are_the_weights_or_the_sizes():
    assert shares(Weighted().build(SIZES), 0, 5e6) == pytest.approx({"a": 0.25, "b": 0.75})
    weighted = Weighted(weights={"a": 3, "b": 2}).build(SIZES)
    assert shares(weighted, 7, 1e12) == pytest.approx({"a": 0.6, "b": 0.4})
    one = Weighted(weights={"b": 1}).build(SIZES)
    assert one.delivered(100) == {"a": 0, "b": 100}


def test_temperature_evens_shares_out():
    """Shares are n**(1/T) over their sum: the square root of 1 and 3, and equal at the end."""
    root = Weighted(temperature=2).build(SIZES)
    assert shares(root, 0, 100)["b"] == pytest.approx(math.sqrt(3) / (1 + math.sqrt(3)))
    even = Weighted(temperature=1e9).build(SIZES)
    assert shares(even, 0, 100)["b"] == pytest.approx(0.5)
    sharp = Weighted(temperature=0.01).build(SIZES)
    assert shares(sharp, 0, 100)["b"] == pytest.approx(1)
    none = Weighted(weights={"a": 1, "b": 0}, temperature=5).build(SIZES)
    assert shares(none, 0, 100)["b"] == 0


def test_a_source_is_read_no_more_than_its_epochs():
    mixer = Weighted(weights={"a": 0.5, "b": 0.5}, max_epochs={"a": 2}).build(SIZES)
    assert mixer.delivered(4000) == pytest.approx({"a": 2000, "b": 2000})
    assert mixer.delivered(10_000) == pytest.approx({"a": 2000, "b": 8000})
    both = Weighted(max_epochs={"a": 1, "b": 0.5}).build(SIZES)
    assert both.delivered(1e9) == pytest.approx({"a": 1000, "b": 1500})


def test_stages_follow_one_another():
    """The mid-training mix after a stage of code alone."""
    mixer = Staged(
        stages=(
            Stage(tokens=1e6, weights={"code": 1}),
            Stage(weights={"traces": 0.3, "code": 0.4, "rehearsal": 0.3}),
        )
    ).build({name: np.full(10, 10) for name in ("traces", "code", "rehearsal")})
    assert shares(mixer, 0, 1e6) == pytest.approx({"code": 1, "traces": 0, "rehearsal": 0})
    expected = {"code": 0.4, "traces": 0.3, "rehearsal": 0.3}
    assert shares(mixer, 1e6, 3e6) == pytest.approx(expected)
    assert shares(mixer, 2e12, 3e12) == pytest.approx(expected)


def test_a_stage_whose_sources_are_used_up_ends_early():
    stages = (Stage(tokens=5000, weights={"a": 1}), Stage(weights={"b": 1}))
    mixer = Staged(stages=stages, max_epochs={"a": 1}).build(SIZES)
    assert mixer.delivered(1500) == pytest.approx({"a": 1000, "b": 500})


def test_stages_say_how_long_they_last():
    with pytest.raises(ValidationError, match="every stage but the last"):
        Staged(stages=(Stage(), Stage()))
    with pytest.raises(ValidationError, match="endless"):
        Staged(stages=(Stage(tokens=5),))


def test_sequential_reads_one_source_after_the_other():
    mixer = Sequential(order=("b", "a"), epochs={"b": 2}).build(
        {"a": np.full(100, 10), "b": np.full(100, 10)}
    )
    assert mixer.delivered(1500) == {"b": 1500, "a": 0}
    assert mixer.delivered(2600) == {"b": 2000, "a": 600}


def test_curriculum_moves_from_start_to_end():
    lengths = {"a": np.array([100]), "b": np.array([100])}
    mixer = Curriculum(start={"a": 1}, end={"b": 1}, tokens=1000).build(lengths)
    steps = [mixer.delivered(x) for x in range(0, 2001, 100)]
    shares = [after["a"] - before["a"] for before, after in pairwise(steps)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx(95)
    assert shares[-1] == 0
    assert all(sum(s.values()) == pytest.approx(x) for s, x in zip(steps, range(0, 2001, 100)))


MIXERS = st.one_of(
    st.builds(
        Weighted,
        weights=st.fixed_dictionaries({"a": st.floats(0.01, 9), "b": st.floats(0, 9)}),
        temperature=st.floats(0.3, 9),
        max_epochs=st.fixed_dictionaries({}, optional={"a": st.floats(0, 5), "b": st.floats(0, 5)}),
    ),
    st.builds(
        lambda tokens, first: Staged(stages=(Stage(tokens=tokens, weights={first: 1}), Stage())),
        st.floats(1, 1e5),
        st.sampled_from("ab"),
    ),
    st.builds(Curriculum, start=st.just({"a": 1}), end=st.just({"b": 1}), tokens=st.floats(1, 1e6)),
    st.builds(Sequential, epochs=st.fixed_dictionaries({"a": st.floats(0, 4)})),
)


@given(MIXERS, st.lists(st.floats(0, 1e7), min_size=2, max_size=20))
def test_no_mixer_takes_back_or_gives_more_than_was_asked_for(config, moments):
    mixer = config.build(SIZES, 0)
    found = [mixer.delivered(moment) for moment in sorted(moments)]
    for before, after in pairwise(found):
        assert all(after[name] >= before[name] - 1e-6 for name in after)
    for moment, given_out in zip(sorted(moments), found):
        assert sum(given_out.values()) <= moment * (1 + 1e-9) + 1e-6


@pytest.mark.parametrize(
    "config",
    [
        Weighted(weights={"a": 0.0}),
        Weighted(weights={"a": -1.0, "b": 2.0}),
        Weighted(weights={"a": float("nan")}),
        Weighted(weights={"a": float("inf")}),
        Weighted(weights={"nosuch": 1.0}),
        Weighted(max_epochs={"nosuch": 1.0}),
        Staged(stages=(Stage(weights={"nosuch": 1.0}),)),
        Sequential(order=("a", "nosuch")),
        Curriculum(start={"a": 0.0}, end={"b": 1.0}),
    ],
)
def test_unusable_weights_are_refused(config):
    with pytest.raises(ConfigError, match=r"nosuch|do not sum to something positive"):
        config.build(SIZES)
