"""Shared fixtures: small traces, their tokenizer and shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwm_core.data.records import Outcome, TraceRecord
from cwm_core.data.shards import ShardWriter
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_core.trace.codec import pieces
from cwm_core.trace.frames import START_OF_TRACE, Event, Frame


def sum_record(number: int, split: str) -> TraceRecord:
    """Trace of ``f(a, b)``, which adds b to a as often as the number says."""
    a, b, times = number % 10, number // 10 % 10, 1 + number % 3
    body = ["    a += b\n"] * times
    context = f"def f(a, b):  {START_OF_TRACE}\n{''.join(body)}    return a\n\nf({a}, {b})\n"
    frames = [Frame(Event.CALL, "def f(a, b):\n", {"a": str(a), "b": str(b)})]
    for line in body:
        frames.append(Frame(Event.LINE, line, {"a": str(a), "b": str(b)}))
        a += b
    frames.append(Frame(Event.LINE, "    return a\n", {"a": str(a), "b": str(b)}))
    frames.append(Frame(Event.RETURN, "    return a\n", value=str(a)))
    return TraceRecord(
        trace_id=f"t{number}",
        program_id=f"p{number}",
        split=split,
        origin="test",
        entry="f",
        input=f"{a}, {b}",
        difficulty=None,
        constructs=(),
        context=context,
        frames=tuple(frames),
        outcome=Outcome.RETURNED,
        reason="",
        stdout="",
        events=len(frames),
        duration_s=0.0,
        python="3.11",
    )


def write_traces(directory: Path, train: int = 100, validation: int = 20) -> Path:
    from cwm_core.data.records import TRACE_SCHEMA

    with ShardWriter(directory, TRACE_SCHEMA, rows_per_shard=64) as writer:
        for number in range(train + validation):
            split = "train" if number < train else "validation"
            writer.write(sum_record(number, split).to_row())
        writer.finish()
    return directory


@pytest.fixture(scope="session")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_traces(tmp_path_factory.mktemp("traces"))


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    records = [sum_record(number, "train") for number in range(60)]
    texts = [p.text for r in records for p in pieces(r.trace) if p.special is None]
    return train_bpe(texts, 400)


@pytest.fixture(scope="session")
def tokenizer_dir(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(directory)
    return directory
