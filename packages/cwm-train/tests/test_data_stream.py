"""Sources, mixers and packing: nothing lost, nothing cut, the same order again."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_core.errors import ConfigError
from cwm_train.data.batch import collate
from cwm_train.data.config import Traces
from cwm_train.data.document import Document
from cwm_train.data.mixers import Curriculum, Sequential, Weighted
from cwm_train.data.packing import best_fit
from cwm_train.data.stream import PackedStream, Position
from cwm_train.model.loss import IGNORE


class Numbers:
    """A source whose document i consists of its number, repeated; negative in the second."""

    def __init__(self, lengths: list[int], base: int = 0) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self._base = base

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Document:
        length = int(self.lengths[index])
        return Document(np.full(length, self._base + index, np.int32), np.ones(length, np.bool_))


def stream_of(sources, mixer=None, length=64, seed=0, **options) -> PackedStream:
    lengths = {name: source.lengths for name, source in sources.items()}
    return PackedStream(
        sources, (mixer or Weighted()).build(lengths, seed), length, seed, **options
    )


def numbers(rows) -> list[int]:
    return [int(document.ids[0]) for row in rows for document in row]


@given(st.lists(st.integers(1, 50), max_size=200), st.integers(50, 80))
def test_packing_keeps_every_item_and_overfills_no_bin(lengths, capacity):
    bins = best_fit(lengths, capacity)
    assert sorted(i for items in bins for i in items) == list(range(len(lengths)))
    assert all(sum(lengths[i] for i in items) <= capacity for items in bins)


def test_packing_fills_rows_to_99_percent():
    lengths = np.random.default_rng(0).lognormal(5.3, 0.6, 5000).clip(20, 1024).astype(int)
    bins = best_fit(lengths.tolist(), 1024)
    assert lengths.sum() / (1024 * len(bins)) > 0.99


def test_an_item_that_fits_no_bin_is_refused():
    with pytest.raises(ValueError, match="fits no bin"):
        best_fit([5], 4)


def test_every_epoch_reads_each_document_once():
    source = Numbers(list(np.random.default_rng(1).integers(1, 60, 100)))
    stream = stream_of({"a": source})
    rows, position = [], Position()
    while position.round < 3:
        taken, position = stream.take(position, 1)
        rows += taken
    assert set(Counter(numbers(rows)).values()) == {3}


def test_the_order_is_a_function_of_seed_and_position():
    source = Numbers([7] * 200)
    whole, _ = stream_of({"a": source}).take(Position(), 30)
    first, middle = stream_of({"a": source}).take(Position(), 13)
    second, _ = stream_of({"a": source}).take(middle, 17)
    other, _ = stream_of({"a": source}, seed=1).take(Position(), 30)
    assert numbers(first + second) == numbers(whole)
    assert numbers(other) != numbers(whole)


def test_weights_are_token_accurate():
    sources = {"long": Numbers([40] * 50), "short": Numbers([3] * 700, base=1000)}
    stream = stream_of(sources, Weighted(weights={"long": 0.3, "short": 0.7}))
    rows, _ = stream.take(Position(), 1000)
    tokens = Counter()
    for row in rows:
        for document in row:
            tokens["short" if document.ids[0] >= 1000 else "long"] += len(document.ids)
    assert tokens["long"] / tokens.total() == pytest.approx(0.3, abs=0.01)


def test_sequential_reads_one_source_after_the_other():
    sources = {"a": Numbers([10] * 100), "b": Numbers([10] * 100, base=1000)}
    mixer = Sequential(order=("b", "a"), epochs={"b": 2}).build(
        {name: source.lengths for name, source in sources.items()}
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


@pytest.mark.parametrize("weights", [{"a": 0.0}, {"a": -1.0, "b": 2.0}, {"nosuch": 1.0}])
def test_unusable_weights_are_refused(weights):
    lengths = {"a": np.array([1]), "b": np.array([1])}
    with pytest.raises(ConfigError):
        Weighted(weights=weights).build(lengths)


def test_long_documents_are_dropped_or_split_as_asked(caplog):
    source = Numbers([10, 100, 20])
    dropped, _ = stream_of({"a": source}).take(Position(), 3)
    assert 1 not in numbers(dropped)
    assert "1 of 3 documents are longer than 64 tokens and are left out" in caplog.text
    split, _ = stream_of({"a": source}, too_long="split").take(Position(), 3)
    assert max(len(d.ids) for row in split for d in row) == 64
    assert "are split" in caplog.text


def test_labels_stay_inside_documents_and_follow_the_mask():
    mask = np.array([False, True, False, True])
    row = [Document(np.array([1, 2, 3, 4], np.int32), mask), Document(np.array([5, 6], np.int32), np.ones(2, bool))]  # fmt: skip # noqa: E501
    batch = collate([row], 8)
    assert batch.labels_bt.tolist() == [[2, IGNORE, 4, IGNORE, 6, IGNORE, IGNORE, IGNORE]]
    assert batch.positions_bt.tolist() == [[0, 1, 2, 3, 0, 1, 0, 0]]
    assert batch.document_bt.tolist() == [[0, 0, 0, 0, 1, 1, -1, -1]]
    assert (batch.tokens, batch.loss_tokens) == (6, 3)


def test_loss_masks_of_traces(traces, tokenizer):
    masks = {}
    for loss_on in ("predicted", "observations", "all"):
        document = Traces(path=traces).build(tokenizer, loss_on)[0]
        masks[loss_on] = document.loss_mask
    assert masks["all"].all()
    assert not (masks["observations"] & ~masks["predicted"]).any()
    first = int(masks["predicted"].argmax())
    assert masks["predicted"][first:].all()
    prompt = tokenizer.decode(document.ids[:first].tolist())
    assert prompt.endswith("def f(a, b):\n<|frame_sep|>")
    unseen = document.ids[masks["predicted"] & ~masks["observations"]].tolist()
    assert "a += b" in tokenizer.decode(unseen)


def test_token_cache_is_used_and_repaired(traces, tokenizer, tmp_path):
    config = Traces(path=traces, cache=tmp_path / "cache")
    built = config.build(tokenizer)
    fresh = [built[i].ids.copy() for i in range(len(built))]
    stores = sorted((tmp_path / "cache").iterdir())
    times = [(s / "ids.bin").stat().st_mtime_ns for s in stores]
    again = config.build(tokenizer)
    assert [(s / "ids.bin").stat().st_mtime_ns for s in stores] == times
    assert all(np.array_equal(ids, again[i].ids) for i, ids in enumerate(fresh))
    (stores[0] / "ids.bin").write_bytes(b"torn")
    repaired = config.build(tokenizer)
    assert all(np.array_equal(ids, repaired[i].ids) for i, ids in enumerate(fresh))


def test_limit_keeps_the_first_traces(traces, tokenizer):
    whole, some = Traces(path=traces).build(tokenizer), Traces(path=traces, limit=70).build(tokenizer)  # fmt: skip # noqa: E501
    assert len(some) == 70
    assert np.array_equal(some[69].ids, whole[69].ids)
