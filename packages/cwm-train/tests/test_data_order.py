"""The order of the data: orders computed anywhere, whatever reads them, and where it ends."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_core.errors import DataError
from cwm_train.data.ahead import Ahead
from cwm_train.data.hashing import Permutation, uniform
from cwm_train.data.order import EpochOrder


@given(st.integers(1, 5000), st.integers(0, 10))
@settings(max_examples=50)
def test_a_permutation_has_every_number_once(size, key):
    found = Permutation(size, key)(np.arange(size))
    assert np.array_equal(np.sort(found), np.arange(size))


def test_permutations_differ_by_key_and_mix():
    first, second = (Permutation(1000, key)(np.arange(1000)) for key in (0, 1))
    assert (first == second).mean() < 0.02
    assert (first == np.arange(1000)).mean() < 0.02
    assert abs(np.corrcoef(first, np.arange(1000))[0, 1]) < 0.15


def test_uniform_numbers_are_uniform():
    drawn = uniform(np.arange(20_000, dtype=np.uint64), "key")
    counts, _ = np.histogram(drawn, 20, (0, 1))
    assert counts.min() > 850 and counts.max() < 1150


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=60),
    st.lists(st.floats(0, 1), max_size=6),
    st.integers(0, 3),
)
@settings(max_examples=40)
def test_stretches_of_an_order_join_without_gap_or_overlap(lengths, cuts, seed):
    order = EpochOrder(np.asarray(lengths), seed, "a")
    cuts = sorted(3 * order.tokens * cut for cut in (0, *cuts, 1))
    parts = [order.between(start, end) for start, end in pairwise(cuts)]
    whole = order.between(0, 3 * order.tokens)
    assert np.array_equal(np.concatenate(parts), whole)
    for epoch in np.split(whole, 3):
        assert np.array_equal(np.sort(epoch), np.arange(len(lengths)))


def test_a_far_epoch_is_computed_without_those_before():
    lengths = np.random.default_rng(0).integers(1, 50, 30_000)
    order = EpochOrder(lengths, 0, "a")
    far = order.tokens * 10**6
    found = order.between(far, far + order.tokens)
    assert np.array_equal(np.sort(found), np.arange(len(lengths)))
    assert not np.array_equal(found, order.between(0, order.tokens))


def test_what_follows_is_made_before_it_is_asked_for():
    made, ready = [], threading.Event()

    def make(place: int, count: int) -> tuple[str, int]:
        made.append(place)
        if place >= 20:
            ready.set()
        return f"{place}+{count}", place + count

    ahead = Ahead(make, 2, "test")
    assert ahead.take(0, 10) == ("0+10", 10)
    assert ready.wait(10)
    assert ahead.take(10, 10) == ("10+10", 20)
    assert ahead.take(5, 10) == ("5+10", 15)


def test_an_error_comes_from_the_call_that_it_belongs_to():
    def make(place: int, count: int) -> tuple[int, int]:
        if place == 2:
            raise DataError("bad row", "repair it")
        return place, place + 1

    ahead = Ahead(make, 3, "test")
    assert ahead.take(0, 1) == (0, 1)
    assert ahead.take(1, 1) == (1, 2)
    for _ in range(2):
        with pytest.raises(DataError, match="bad row"):
            ahead.take(2, 1)
    assert ahead.take(3, 1) == (3, 4)
