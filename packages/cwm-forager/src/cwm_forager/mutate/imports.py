"""Which test files import which files: what else a change at import could reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Imports:
    """The import graph of a repository's files, as statements say it, wherever they stand."""

    edges: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Files that a file imports; all, where it imports by names that only running it tells."""
    shared: set[str] = field(default_factory=set)
    """Files that are there before tests are collected, and every ``conftest.py``."""
    _reached: dict[str, frozenset[str]] = field(default_factory=dict)

    def add(self, edges: Mapping[str, Iterable[str]], early: Iterable[str]) -> None:
        """Add what one run recorded."""
        for path, imported in edges.items():
            self.edges[path].update(imported)
        self.shared.update(early)
        self.shared.update(path for path in edges if path.rpartition("/")[2] == "conftest.py")
        self._reached.clear()

    def could_import(self, test: str, path: str) -> bool:
        """Whether a test, named ``FILE::...``, could have imported a file."""
        file = test.partition("::")[0]
        if file not in self.edges:
            return True
        return path in self._from(file) or any(path in self._from(each) for each in self.shared)

    def _from(self, start: str) -> frozenset[str]:
        """Return what a file imports, itself and by way of others included."""
        if start not in self._reached:
            seen, left = {start}, [start]
            while left:
                new = self.edges.get(left.pop(), set()) - seen
                seen |= new
                left += new
            self._reached[start] = frozenset(seen)
        return self._reached[start]
