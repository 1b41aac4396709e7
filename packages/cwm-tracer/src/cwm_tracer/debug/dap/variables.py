"""Scopes and variables: numbers that a client may ask the content of, until the next stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cwm_tracer.debug.compare import Difference
from cwm_tracer.debug.evaluate import children
from cwm_tracer.debug.predict import Prediction

Listing = Callable[[], list[dict[str, Any]]]


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
        """Return a number for a listing."""
        number = len(self._listings) + 1
        self._listings[number] = listing
        return number

    def listed(self, number: int) -> list[dict[str, Any]] | None:
        """Return what a number stands for, None for one that is not known."""
        listing = self._listings.get(number)
        return None if listing is None else listing()

    def of_text(self, text: str) -> int:
        """Return a number for the parts of a value, 0 where it has none."""
        parts = children(text)
        return self.add(lambda: [self.variable(*part) for part in parts]) if parts else 0

    def variable(self, name: str, text: str, **more: Any) -> dict[str, Any]:
        """Describe a variable whose value is this text."""
        return {"name": name, "value": text, "variablesReference": self.of_text(text), **more}

    def locals(self, state: Mapping[str, str]) -> list[dict[str, Any]]:
        """Describe locals."""
        return [self.variable(name, text, evaluateName=name) for name, text in state.items()]

    def predicted(self, made: Prediction) -> list[dict[str, Any]]:
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


def differing(found: list[Difference]) -> list[dict[str, Any]]:
    """Describe differences."""
    return [
        _plain(f"≠ {each.part}", f"executed {each.executed}, predicted {each.predicted}", None)
        for each in found
    ]


def probability(value: float | None) -> str:
    """Write a probability, nothing for None."""
    return "" if value is None else f"p = {value:.3g}"


def _plain(name: str, text: str, sure: float | None) -> dict[str, Any]:
    return {"name": name, "value": text, "type": probability(sure), "variablesReference": 0}
