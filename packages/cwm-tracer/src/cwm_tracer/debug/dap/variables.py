"""Scopes and variables: numbers that a client may ask the content of, until the next stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cwm_tracer.debug.compare import Difference
from cwm_tracer.debug.predict import Prediction
from cwm_tracer.debug.unfold import children, unfolds

Row = dict[str, Any]
Listing = Callable[[], list[Row]]

MOST_PARTS = 1000
"""A value of more parts is shown in groups of as many."""
MOST_SHOWN = 10_000
"""Characters of a value that are sent where a client lists variables."""


class References:
    """Numbers for what can be unfolded."""

    def __init__(self) -> None:
        self._listings: dict[int, Listing] = {}
        self.editable: dict[int, int] = {}
        """Of scopes whose variables can be set, the event that they show."""

    def clear(self) -> None:
        """Forget all numbers; their clients have moved on."""
        self._listings.clear()
        self.editable.clear()

    def add(self, listing: Listing) -> int:
        """Return a number for a listing, which is made when it is first asked for."""
        number = len(self._listings) + 1
        self._listings[number] = cache(listing)
        return number

    def listed(self, number: int) -> list[Row] | None:
        """Return what a number stands for, None for one that is not known."""
        listing = self._listings.get(number)
        return None if listing is None else listing()

    def of_text(self, text: str) -> int:
        """Return a number for the parts of a value, 0 where it has none."""
        return self.add(lambda: self._parts(children(text))) if unfolds(text) else 0

    def _parts(self, parts: list[tuple[str, str]]) -> list[Row]:
        if len(parts) <= MOST_PARTS:
            return [self.variable(*part) for part in parts]
        return [
            self._group(parts, first, min(first + MOST_PARTS, len(parts)))
            for first in range(0, len(parts), MOST_PARTS)
        ]

    def _group(self, parts: list[tuple[str, str]], first: int, end: int) -> Row:
        number = self.add(lambda: self._parts(parts[first:end]))
        return {"name": f"[{first} to {end - 1}]", "value": "", "variablesReference": number}

    def variable(self, name: str, text: str, **more: Any) -> Row:
        """Describe a variable whose value is this text."""
        number = self.of_text(text)
        return {"name": name, "value": shortened(text), "variablesReference": number, **more}

    def locals(self, state: Mapping[str, str]) -> list[Row]:
        """Describe locals."""
        return [self.variable(name, text, evaluateName=name) for name, text in state.items()]

    def predicted(self, made: Prediction) -> list[Row]:
        """Describe a prediction: its locals and values, each with the model's probability."""
        frame, sure = made.frame, made.confidence
        if frame is None:
            return [_plain("(event)", "end of the trace", sure.event)]
        rows = [
            _plain("(event)", str(frame.event), sure.event),
            _plain("(source)", frame.source.strip(), sure.source),
        ]
        for name, text in (frame.locals or {}).items():
            rows.append(self.variable(name, text, type=probability(sure.values.get(name))))
        if frame.value is not None:
            rows.append(self.variable("(value)", frame.value, type=probability(sure.value)))
        rows += [_plain("(problem)", problem, None) for problem in made.problems]
        return rows


def differing(found: list[Difference]) -> list[Row]:
    """Describe differences."""
    return [
        _plain(f"≠ {each.part}", f"executed {each.executed}, predicted {each.predicted}", None)
        for each in found
    ]


def shortened(text: str, most: int = MOST_SHOWN) -> str:
    """Cut a text that is longer than `most` characters, and mark that it was."""
    return text if len(text) <= most else f"{text[:most]}…"


def probability(value: float | None) -> str:
    """Write a probability, nothing for None."""
    return "" if value is None else f"p = {value:.3g}"


def _plain(name: str, text: str, sure: float | None) -> Row:
    return {"name": name, "value": text, "type": probability(sure), "variablesReference": 0}
