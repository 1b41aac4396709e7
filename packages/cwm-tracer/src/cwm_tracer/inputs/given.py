"""Inputs that come with a function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cwm_tracer.inputs.callee import Callee
from cwm_tracer.inputs.generator import InputGenerator


class Given:
    """The argument lists of a data set."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def inputs(self, callee: Callee, known: Sequence[str], seed: int) -> Iterator[str]:
        """Yield them as they are."""
        yield from self._texts


def with_given(
    texts: Sequence[str], generators: Mapping[str, InputGenerator]
) -> Mapping[str, InputGenerator]:
    """Put what comes with a function before all generators."""
    return {"given": Given(texts), **generators} if texts else generators
