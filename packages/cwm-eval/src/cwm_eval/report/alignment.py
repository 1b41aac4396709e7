"""A predicted trace beside the true one, frame by frame, with every difference marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from cwm_core.trace.diff import UNCHANGED, DiffEncoder
from cwm_core.trace.frames import Event

Row = Sequence[Any]
"""``[event, locals, source, value]`` as samples keep frames."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A local variable as one side shows it; `changed` since the frame before in its scope."""

    name: str
    value: str
    changed: bool
    wrong: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """One frame on one side; the `*_wrong` flags say where it differs from the other side."""

    event: str
    source: str
    variables: tuple[Variable, ...]
    value: str | None
    event_wrong: bool
    source_wrong: bool
    value_wrong: bool
    missing: tuple[str, ...] = ()
    """Variables that only the other side has."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The true and the predicted frame at one place; `None` where a side has ended."""

    index: int
    truth: Cell | None
    predicted: Cell | None
    verdict: str
    """`right`, `wrong`, `missing` (nothing predicted) or `extra` (nothing to predict)."""


def align(truth: Sequence[Row], predicted: Sequence[Row]) -> list[Pair]:
    """Pair frames by their place: the model writes them in order, so the first wrong one tells."""
    pairs = []
    sides = zip_longest(truth, predicted, _changes(truth), _changes(predicted))
    for index, (true, guess, true_changes, guess_changes) in enumerate(sides):
        pairs.append(
            Pair(
                index,
                None if true is None else _cell(true, guess, true_changes),
                None if guess is None else _cell(guess, true, guess_changes),
                _verdict(true, guess),
            )
        )
    return pairs


def _verdict(true: Row | None, guess: Row | None) -> str:
    if guess is None:
        return "missing"
    if true is None:
        return "extra"
    return "right" if list(true) == list(guess) else "wrong"


def _changes(rows: Sequence[Row]) -> Iterator[Mapping[str, str]]:
    coder = DiffEncoder()
    for event, values, *_ in rows:
        yield coder.encode(Event(event), values or {})


def _cell(row: Row, other: Row | None, coded: Mapping[str, str]) -> Cell:
    event, values, source, value = row
    values = values or {}
    if other is None:
        other = [event, values, source, value]
    others = other[1] or {}
    return Cell(
        event=event,
        source=_shown_source(source, other[2]),
        variables=tuple(
            Variable(name, text, changed=coded[name] != UNCHANGED, wrong=others.get(name) != text)
            for name, text in values.items()
        ),
        value=value,
        event_wrong=other[0] != event,
        source_wrong=other[2] != source,
        value_wrong=other[3] != value,
        missing=tuple(name for name in others if name not in values),
    )


def _shown_source(source: str, other: str) -> str:
    """Leave the indentation away unless it is the only difference."""
    bare = source.strip()
    return source.rstrip("\n") if source != other and bare == other.strip() else bare
