"""Argument lists drawn from the types of the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from cwm_tracer.inputs.callee import Anatomy, Callee, Parameter, anatomy
from cwm_tracer.inputs.hints.inference import inferred
from cwm_tracer.inputs.hints.strategies import Texts, Types
from cwm_tracer.inputs.text import canonical


class Hints:
    """Draws from annotations, and where there are none from defaults, docstring and body."""

    def __init__(self, count: int) -> None:
        self._count = count

    def inputs(self, callee: Callee, known: Sequence[str], seed: int) -> Iterator[str]:
        """Yield up to `count` different argument lists, whatever is `known`."""
        parts = anatomy(callee)
        strategy = argument_lists(parts, Types(parts.tree, callee.source))
        found = (canonical(text) for text in drawn(strategy, self._count, seed))
        yield from dict.fromkeys(text for text in found if text is not None)


def drawn(strategy: Texts, count: int, seed: int) -> list[str]:
    """Draw `count` examples; the same ones for the same seed."""
    found: list[str] = []

    @seeded(seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(text: str) -> None:
        found.append(text)

    collect()
    return found


def argument_lists(parts: Anatomy, types: Types) -> Texts:
    """Return the strategy of whole argument lists."""
    return call_texts([(each, type_of(each, parts, types)) for each in parts.parameters])


def type_of(parameter: Parameter, parts: Anatomy, types: Types) -> Texts:
    """Return the strategy of one parameter's values."""
    if parameter.annotation is not None:
        return types.of(parameter.annotation)
    return types.any_of(inferred(parameter, parts))


def call_texts(parameters: list[tuple[Parameter, Texts]]) -> Texts:
    """Return the strategy of argument lists; what has a default is given half of the time."""
    # What follows in *args would take the place of a parameter that was left out.
    gapless = any(parameter.kind == "args" for parameter, _ in parameters)
    pieces = [_piece(parameter, texts, gapless) for parameter, texts in parameters]
    return st.tuples(*pieces).map(_joined)


def _piece(parameter: Parameter, texts: Texts, gapless: bool) -> st.SearchStrategy[tuple[str, str]]:
    """Return (how it is given, text) of one parameter; how: place, NAME=, or nothing for not."""
    if parameter.kind == "args":
        many = st.lists(texts, max_size=4).map(", ".join)
        return many.map(lambda text: ("place" if text else "", text))
    if parameter.kind == "kwargs":
        return st.just(("", ""))
    how = f"{parameter.name}="
    given_text = texts.map(lambda text: (how, text))
    if parameter.required or (gapless and parameter.kind == "positional"):
        first = "place" if parameter.kind == "positional" else how
        return texts.map(lambda text: (first, text))
    return st.one_of(st.just(("", "")), given_text)


def _joined(pieces: tuple[tuple[str, str], ...]) -> str:
    """Join the arguments; keywords come last, so that values left out leave no gap."""
    placed = [text for how, text in pieces if how == "place"]
    named = [f"{how}{text}" for how, text in pieces if how not in ("", "place")]
    return ", ".join([*placed, *named])
