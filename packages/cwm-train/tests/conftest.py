"""Shared fixtures: small traces, their tokenizer and shards."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cwm_core.data.records import Outcome, TraceRecord
from cwm_core.data.shards import ShardWriter
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_core.trace.codec import pieces
from cwm_core.trace.frames import START_OF_TRACE, Event, Frame
from cwm_train.data.config import Traces
from cwm_train.loop.config import TrainConfig
from cwm_train.model.config import CwmTiny


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


SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


@pytest.fixture
def settings(tmp_path: Path, traces: Path, tokenizer_dir: Path) -> Callable[..., TrainConfig]:
    """Configuration of a small training run; keyword arguments change it."""

    def make(**changes: object) -> TrainConfig:
        fields = {
            "out": tmp_path / "run",
            "tokenizer": tokenizer_dir,
            "model": CwmTiny(name="cwm_tiny", **SMALL),
            "sources": {"traces": Traces(name="traces", path=traces)},
            "cache": tmp_path / "tokens",
            "sequence_length": 256,
            "batch_tokens": 1024,
            "max_steps": 12,
            "log_every": 1,
            "threads": 1,
            "precision": "fp32",
        }
        return TrainConfig(**{**fields, **changes})

    return make


@pytest.fixture
def command() -> Callable[[TrainConfig], list[str]]:
    """The command line of a run of `settings`, in a process of its own."""

    def words(config: TrainConfig) -> list[str]:
        source = config.sources["traces"]
        return [
            sys.executable, "-m", "cwm_core", "train", f"out={config.out}",
            f"tokenizer={config.tokenizer}", "sources.traces.name=traces",
            f"sources.traces.path={source.path}", *(f"model.{k}={v}" for k, v in SMALL.items()),
            "sequence_length=256", "batch_tokens=1024", f"max_steps={config.max_steps}",
            "log_every=1", "threads=1", "checkpoint_every_steps=10", f"cache={config.cache}",
            "precision=fp32", *([f"ema={config.ema}"] if config.ema else []),
        ]  # fmt: skip

    return words
