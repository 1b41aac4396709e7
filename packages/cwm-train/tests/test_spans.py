"""Spans of documents: which of them carry loss."""

from __future__ import annotations

import numpy as np
import pytest

from cwm_train.data.config import LossShares
from cwm_train.data.spans import Span, encode_spans, loss_mask

KINDS = [Span.PROMPT, Span.ACTION, Span.ACTION, Span.OBSERVATION, Span.OBSERVATION, Span.ACTION]
GROUPS = [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (LossShares(), [0, 1, 1, 1, 1, 1]),
        (LossShares(observation=0), [0, 1, 1, 0, 0, 1]),
        (LossShares(action=0, prompt=1), [1, 0, 0, 1, 1, 0]),
    ],
)
def test_shares_of_all_or_nothing(shares, expected):
    codes = encode_spans(KINDS, GROUPS)
    assert loss_mask(codes, shares, 0).astype(int).tolist() == expected


def test_half_of_the_spans_are_drawn_each_as_a_whole():
    kinds = np.tile([Span.ACTION, Span.OBSERVATION, Span.OBSERVATION, Span.OBSERVATION], 2000)
    codes = encode_spans(kinds, np.arange(8000) // 4)
    mask = loss_mask(codes, LossShares(observation=0.5), 7).reshape(2000, 4)
    assert mask[:, 0].all()
    assert (mask[:, 1:].all(axis=1) == mask[:, 1:].any(axis=1)).all()
    assert 0.46 < mask[:, 1].mean() < 0.54
    assert np.array_equal(mask, loss_mask(codes, LossShares(observation=0.5), 7).reshape(2000, 4))
    for other in ({"document": 8}, {"shares": LossShares(observation=0.5, seed=1)}):
        given_ = {"codes": codes, "shares": LossShares(observation=0.5), "document": 7, **other}
        assert (mask[:, 1] != loss_mask(**given_).reshape(2000, 4)[:, 1]).mean() > 0.4


def test_spans_that_never_carry_loss():
    codes = encode_spans(KINDS, GROUPS, [False, True, False, False, False, True])
    assert loss_mask(codes, LossShares(), 0).astype(int).tolist() == [0, 0, 1, 1, 1, 0]
