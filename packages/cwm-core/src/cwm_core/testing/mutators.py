"""Conformance suite of mutators: subclass it, give sources, and pytest runs it.

::

    class TestMine(MutatorConformance):
        component = "forget_await"
        sources = ("async def f(g):\\n    return await g()\\n",)
"""

from __future__ import annotations

import ast
from itertools import islice
from random import Random
from typing import Any, ClassVar

from cwm_core.components import ComponentConfig
from cwm_core.plugins import registry

SCOPES = ("function", "class", "import")
_ANY = {
    "function": "def f(a, b=1):\n    x = a + b\n    return [x, f(b, a)]\n",
    "class": "class C(dict, list):\n    y = 1\n\n    def m(self):\n        return self.y\n",
    "import": "from os import path, sep\n",
}
MOST = 30
"""Rewrites that are looked at per source."""


class MutatorConformance:
    """What every mutator promises."""

    component: ClassVar[str]
    """Name of the component."""
    sources: ClassVar[tuple[str, ...]]
    """Definitions of its scope that it can rewrite."""

    def config(self) -> ComponentConfig:
        """Return the component's configuration; override it to give fields."""
        return registry().make("mutators", self.component)

    def rewrites(self, source: str, seed: int = 0) -> list[str]:
        """Return the first rewrites of a source."""
        mutator: Any = self.config().build()
        return list(islice(mutator.mutations(source, Random(seed)), MOST))

    def test_scope(self) -> None:
        """It says what it rewrites, and the sources are of that kind."""
        scope = self.config().build().scope
        assert scope in SCOPES
        kinds = {
            "function": (ast.FunctionDef, ast.AsyncFunctionDef),
            "class": (ast.ClassDef,),
            "import": (ast.Import, ast.ImportFrom),
        }
        for source in self.sources:
            (statement,) = ast.parse(source).body
            assert isinstance(statement, kinds[scope]), source

    def test_rewrites_parse_and_differ(self) -> None:
        """Most rewrites are Python that means something else, and every source has one."""
        for source in self.sources:
            found = self.rewrites(source)
            assert all(isinstance(rewrite, str) for rewrite in found)
            good = [rewrite for rewrite in found if _is_other_python(source, rewrite)]
            assert good, f"nothing comes of:\n{source}"
            assert 2 * len(good) >= len(found), f"of {len(found)} rewrites {len(good)} are of use"

    def test_choices_follow_the_seed(self) -> None:
        """The same seed gives the same rewrites."""
        for source in self.sources:
            assert self.rewrites(source, 7) == self.rewrites(source, 7)

    def test_other_definitions_do_no_harm(self) -> None:
        """A definition that it has nothing to do with gives few or no rewrites, and no error."""
        source = _ANY[self.config().build().scope]
        assert all(isinstance(rewrite, str) for rewrite in self.rewrites(source))

    def test_rewrites_are_drawn_as_needed(self) -> None:
        """`mutations` gives something to iterate over, not necessarily a list."""
        mutator: Any = self.config().build()
        for source in self.sources:
            assert next(iter(mutator.mutations(source, Random(0)))) is not None


def _is_other_python(old: str, new: str) -> bool:
    try:
        return ast.dump(ast.parse(old)) != ast.dump(ast.parse(new))
    except (SyntaxError, ValueError):
        return False
