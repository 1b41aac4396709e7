"""Mutator: rewrites a piece of source so that it may be wrong."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Literal, Protocol, runtime_checkable

Scope = Literal["function", "class", "import"]
"""What a mutator rewrites: one function or method with its decorators, one class, or one import
statement at the top of a module."""


@runtime_checkable
class Mutator(Protocol):
    """Proposes rewrites of one definition; whether they break anything is for tests to say."""

    @property
    def scope(self) -> Scope:
        """What it rewrites."""
        ...

    def mutations(self, source: str, random: Random) -> Iterable[str]:
        """Yield rewrites of `source`, most wanted first; few or none where there is nothing to do.

        `source` is the text of one definition of the mutator's scope, its first line at column 0,
        and ends with a newline; so is each rewrite, which must parse and differ. An empty rewrite
        deletes the definition. All choices come from `random`. Only as many are drawn as needed.
        """
        ...
