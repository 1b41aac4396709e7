"""Conformance suite of input generators: subclass it, give it one, and pytest runs it.

::

    class TestMine(InputGeneratorConformance):
        @pytest.fixture
        def generator(self):
            return MyConfig().build()
"""

from __future__ import annotations

import ast
from itertools import islice
from typing import Any

import pytest

from cwm_tracer.inputs.callee import Callee
from cwm_tracer.inputs.generator import InputGenerator

EXAMPLE = '''\
"""Prices.

>>> discounted([10, 20], 5)
[5, 15]
"""


def discounted(prices: list[int], rebate: int = 1, *, floor: int = 0) -> list[int]:
    """Lower prices.

    Example: discounted([3, 4], rebate=2, floor=2)
    """
    return [max(price - rebate, floor) for price in prices]


ON_SALE = discounted([100, 7])
'''
"""A function with hints, defaults, a doctest, an example in prose, and a call."""

EXPLOSIVE = "raise SystemExit('this program was run')\n\n\ndef f(n: int):\n    return n\n"
"""A program that tells when it is run, or imported."""


class InputGeneratorConformance:
    """What the choice among inputs relies on in every generator."""

    source = EXAMPLE
    """The program of `entry`."""
    entry = "discounted"
    """A function that the generator has inputs for, given that `known` are known."""
    known: tuple[str, ...] = ("[1, 2, 3], 2",)
    """Argument lists that are known already."""
    most = 200
    """How many are looked at."""

    @pytest.fixture
    def generator(self) -> Any:
        """Return the generator under test."""
        raise NotImplementedError("override the fixture `generator`")

    def drawn(self, generator: Any, seed: int = 0) -> list[str]:
        """Return the first inputs for the example."""
        found = generator.inputs(Callee(self.source, self.entry), self.known, seed)
        return list(islice(found, self.most))

    def test_it_is_an_input_generator(self, generator: Any) -> None:
        """The protocol's method is there."""
        assert isinstance(generator, InputGenerator)

    def test_it_has_inputs(self, generator: Any) -> None:
        """The example gets at least one, and none twice."""
        found = self.drawn(generator)
        assert found
        assert len(set(found)) == len(found)

    def test_inputs_are_argument_lists(self, generator: Any) -> None:
        """Each is what stands between the parentheses of a call, on one line or more."""
        for text in self.drawn(generator):
            node = ast.parse(f"f({text}\n)", mode="eval").body
            assert isinstance(node, ast.Call), text
            assert ast.unparse(node.func) == "f", text

    def test_the_same_seed_makes_the_same_inputs(self, generator: Any) -> None:
        """Runs can be continued and repeated."""
        assert self.drawn(generator, seed=3) == self.drawn(generator, seed=3)

    def test_the_program_is_not_run(self, generator: Any) -> None:
        """Nothing of the program happens in this process."""
        list(islice(generator.inputs(Callee(EXPLOSIVE, "f"), ("3",), 0), 10))

    def test_a_function_without_parameters_is_no_problem(self, generator: Any) -> None:
        """Whatever is proposed, nothing is raised."""
        list(islice(generator.inputs(Callee("def f():\n    return 1\n", "f"), (), 0), 10))
