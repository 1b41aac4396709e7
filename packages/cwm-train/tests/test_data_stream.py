"""Sources, mixers and packing: nothing lost, nothing cut, the same order again."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_core.errors import ContextLengthError, DataError
from cwm_train.data.batch import collate
from cwm_train.data.config import Traces
from cwm_train.data.document import Document
from cwm_train.data.fitting import FittedSource
from cwm_train.data.mixers import Weighted
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


# Anywhere, in any number of processes


SOURCES = {
    "a": Numbers(list(np.random.default_rng(0).integers(3, 60, 400))),
    "b": Numbers(list(np.random.default_rng(1).integers(3, 60, 200)), base=10_000),
}
MIXER = Weighted(weights={"a": 0.5, "b": 0.5})


@given(st.integers(0, 400), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_any_place_is_reached_at_once(skipped, rows):
    """What follows a position does not depend on how it was reached."""
    stream = stream_of(SOURCES, MIXER)
    _, position = stream.take(Position(), skipped) if skipped else ([], Position())
    here, after = stream.take(position, rows)
    again, also_after = stream_of(SOURCES, MIXER).take(position, rows)
    assert numbers(here) == numbers(again)
    assert after == also_after


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_the_rows_of_one_process(processes):
    """Every process reads the same batch and takes its rows; together they have each once."""
    whole, _ = stream_of(SOURCES, MIXER).take(Position(), 64)
    streams = [stream_of(SOURCES, MIXER) for _ in range(processes)]
    position, seen = Position(), []
    for _ in range(8):
        taken = [stream.take(position, 8) for stream in streams]
        assert len({after for _, after in taken}) == 1
        for rank, (rows, _) in enumerate(taken):
            share = len(rows) // processes
            seen += rows[rank * share : (rank + 1) * share]
        position = taken[0][1]
    assert numbers(seen) == numbers(whole)


def test_the_shares_that_are_told_are_those_that_were_read():
    stream = stream_of(SOURCES, Weighted(weights={"a": 0.3, "b": 0.7}))
    position, read = Position(), {"a": 0, "b": 0}
    for rows in (7, 100, 1, 60):
        taken, position = stream.take(position, rows)
        for document in (d for row in taken for d in row):
            read["b" if document.ids[0] >= 10_000 else "a"] += len(document.ids)
        assert stream.tokens_by_source(position) == read
    assert sum(stream.token_shares(position).values()) == pytest.approx(1)
    assert stream.token_shares(position)["a"] == pytest.approx(0.3, abs=0.03)


def test_data_that_is_used_up_ends_with_a_message():
    stream = stream_of(SOURCES, Weighted(max_epochs={"a": 1, "b": 1}))
    position, read = Position(), []
    with pytest.raises(DataError, match="used up after") as caught:
        while True:
            rows, position = stream.take(position, 5)
            read += numbers(rows)
    assert "max_epochs" in caught.value.hint
    assert len(read) == len(set(read))


# Rows


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_filled_to_99_percent_and_nothing_that_fits_is_cut(seed):
    draw = np.random.default_rng(seed)
    lengths = draw.lognormal(5.5, 1.0, 6000).clip(5, 1500).astype(int)
    source = Numbers(lengths.tolist())
    stream = stream_of({"a": source}, length=1024, too_long="split")
    tokens = sizes = 0
    position = Position()
    for _ in range(10):
        rows, position = stream.take(position, 64)
        assert all(sum(len(d.ids) for d in row) <= 1024 for row in rows)
        for document in (d for row in rows for d in row):
            whole = int(lengths[document.ids[0]])
            assert len(document.ids) == whole if whole <= 1024 else len(document.ids) <= 1024
            tokens += len(document.ids)
        sizes += 64 * 1024
    assert tokens / sizes > 0.99


def test_long_documents_are_split_without_loss_or_lose_their_end():
    lengths = np.array([5, 64, 65, 200])
    split = FittedSource(Numbers(lengths.tolist()), 64, "split", "a")
    assert split.lengths.tolist() == [5, 64, 64, 1, 64, 64, 64, 8]
    assert [len(split[i].ids) for i in range(len(split))] == split.lengths.tolist()
    assert [int(split[i].ids[0]) for i in range(len(split))] == [0, 1, 2, 2, 3, 3, 3, 3]
    truncated = FittedSource(Numbers(lengths.tolist()), 64, "truncate", "a")
    assert [len(truncated[i].ids) for i in range(4)] == [5, 64, 64, 64]
    dropped = FittedSource(Numbers(lengths.tolist()), 64, "drop", "a")
    assert [int(dropped[i].ids[0]) for i in range(len(dropped))] == [0, 1]


def test_too_long_can_be_an_error_that_names_the_longest():
    with pytest.raises(ContextLengthError, match=r"2 of 4 documents .* document 3, has 200") as bad:
        FittedSource(Numbers([5, 64, 65, 200]), 64, "error", "a")
    assert "raise sequence_length" in bad.value.hint
    with pytest.raises(DataError, match="no document of the source 'a' fits into 64 tokens"):
        FittedSource(Numbers([65]), 64, "drop", "a")
