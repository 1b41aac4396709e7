"""What invents inputs: the protocol of components of kind `input_generators`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from cwm_tracer.inputs.callee import Callee


@runtime_checkable
class InputGenerator(Protocol):
    """Proposes argument lists for a function, without running anything of the program.

    `cwm_tracer.inputs.conformance.InputGeneratorConformance` checks what callers rely on.
    """

    def inputs(self, callee: Callee, known: Sequence[str], seed: int) -> Iterator[str]:
        """Yield argument lists as Python source, such as ``"[1, 2], k=3"``, the best first.

        They are evaluated in the program's own namespace. `known` are argument lists that are
        worth having so far; the same arguments give the same sequence. It is asked again, with
        other `known` and another `seed`, as long as that brings something new.
        """
        ...
