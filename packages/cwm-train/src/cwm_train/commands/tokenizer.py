"""`cwm tokenizer train` and `cwm tokenizer info`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from cwm_core.config import CommandConfig

app = typer.Typer(no_args_is_help=True, help="Train and inspect tokenizers.")


class TokenizerConfig(CommandConfig):
    """A byte-level BPE tokenizer trained on traces."""

    out: Path
    """Directory of the tokenizer."""
    data: Path
    """Directory of trace shards."""
    vocab_size: int = Field(1024, gt=0)
    """Number of ids, bytes and special tokens included."""
    split: str = "train"
    """Which programs' traces to learn from."""
    traces: int = Field(4000, gt=0)
    """Traces to learn from, at most."""
    profile: str = "trace"
    """How texts are split before merging: ``trace`` for small models of traces, or ``llama3``."""


@app.command("train")
def train(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value ..., such as vocab_size=1024")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file")] = None,
) -> None:
    """Train a small tokenizer: cwm tokenizer train data=DIR vocab_size=1024 out=DIR."""
    from cwm_core.config import compose

    train_tokenizer(compose("tokenizer train", TokenizerConfig, overrides or [], config))


def train_tokenizer(config: TokenizerConfig) -> None:
    """Train as configured; does nothing if this tokenizer is there already."""
    from cwm_core.atomic import disk_errors
    from cwm_core.errors import DataError
    from cwm_core.rundir import open_run
    from cwm_core.text.tokenizer import train_bpe

    with open_run(config.out, "tokenizer train", config) as run:
        if run.is_done:
            run.log(f"{config.out} holds this tokenizer already")
            return
        texts = list(_texts(config))
        if not texts:
            raise DataError(
                f"{config.data} holds no trace of the split {config.split!r}",
                "check the split, or record programs with `cwm trace`",
            )
        tokenizer = train_bpe(texts, config.vocab_size, profile=config.profile)
        with disk_errors(config.out):
            tokenizer.save(config.out)
        run.log(
            f"{tokenizer.vocab_size} ids, learned from {sum(map(len, texts)):,} characters; "
            f"saved in {config.out}"
        )


def _texts(config: TokenizerConfig) -> Iterator[str]:
    """Yield the plain pieces of the traces."""
    from itertools import islice

    from cwm_core.data.records import COMPLETE_OUTCOMES, frames_from_row
    from cwm_core.data.shards import read_shards
    from cwm_core.errors import CodecError
    from cwm_core.trace.codec import pieces
    from cwm_core.trace.frames import Trace
    from cwm_train.data.traces import trace_directory

    rows = read_shards(
        trace_directory(config.data),
        ["context", "frames", "outcome"],
        where={"split": config.split},
    )
    for row in islice(rows, config.traces):
        complete = row["outcome"] in COMPLETE_OUTCOMES
        frames = frames_from_row(row["frames"])
        if not frames:
            continue
        try:
            items = pieces(Trace(row["context"], frames, complete))
        except CodecError:
            continue
        yield from (piece.text for piece in items if piece.special is None)


@app.command("info")
def info(
    path: Annotated[Path, typer.Argument(help="tokenizer directory or tokenizer.json")],
    text: Annotated[str, typer.Option(help="text to show as tokens")] = "",
) -> None:
    """Show a tokenizer's size and special tokens, and how it cuts a text."""
    from cwm_core.text.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(path)
    print(f"ids          {tokenizer.vocab_size}")
    print(f"fingerprint  {tokenizer.fingerprint}")
    for name, token in sorted(tokenizer.special_ids.items(), key=lambda item: item[1]):
        if "reserved" not in name:
            print(f"{token:>7}      {name}")
    if text:
        print(" ".join(repr(tokenizer.decode([i])) for i in tokenizer.encode(text)))
