"""What tests reach: which of them can tell a changed definition from the original."""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cwm_core.errors import DataError
from cwm_forager.mutate.imports import Imports
from cwm_forager.mutate.targets import Target

_LOOKING = frozenset(
    "getattr vars globals dir __dict__ getmembers eval exec __all__ signature getfullargspec "  # noqa: SIM905
    "getsource import_module __import__ reload".split()
)
"""Names by which code can reach a definition without saying its name."""


@dataclass(slots=True)
class Reach:
    """Functions by file and first line, and the tests that enter them."""

    tests: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    """Tests that enter the function of a file at a line."""
    always: set[tuple[str, int]] = field(default_factory=set)
    """Functions that run outside of any single test: at import, or in fixtures that last."""
    lines: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    """Lines that tests run, by file; a long loop or a function called often may lack some."""
    opaque: set[str] = field(default_factory=set)
    """Tests that may reach anything: they start processes or read source files."""
    mentions: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Tests whose code says a name, as a variable, attribute or short string."""
    looking: set[str] = field(default_factory=set)
    """Tests whose code looks names up in other ways."""
    known: set[str] = field(default_factory=set)
    """All tests."""
    imports: Imports = field(default_factory=Imports)
    modules: set[str] = field(default_factory=set)
    """Modules from outside of the repository that were imported."""

    def add(self, data: bytes) -> None:
        """Add what the plugin wrote in one run; DataError when it is something else."""
        try:
            self._add(json.loads(data))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise DataError(f"what tests reach was not recorded: {error!r}") from error

    def _add(self, found: Mapping[str, Any]) -> None:
        codes = [(str(path), int(line)) for path, line, _ in found["codes"]]
        names = [frozenset(map(str, words)) for _, _, words in found["codes"]]
        self.imports.add(found["imports"], found["early"])
        self.known.update(test for test in found["reached"] if test)
        for test, indices in found["reached"].items():
            for index in indices:
                if not test:
                    self.always.add(codes[index])
                    continue
                self.tests[codes[index]].add(test)
                for name in names[index]:
                    self.mentions[name].add(test)
                if names[index] & _LOOKING:
                    self.looking.add(test)
        for path, lines in found["lines"].items():
            self.lines[path].update(map(int, lines))
        self.opaque.update(found["opaque"])
        self.modules.update(found["modules"])

    def functions(self, target: Target) -> list[tuple[str, int]]:
        """Return the functions that lie in a target."""
        return [
            code
            for code in self.tests.keys() | self.always
            if code[0] == target.path and target.first <= code[1] <= target.last
        ]

    def entering(self, target: Target) -> set[str]:
        """Return the tests that enter a target or a function inside of it."""
        return {test for code in self.functions(target) for test in self.tests.get(code, ())}

    def importing(self, path: str) -> set[str]:
        """Return the tests that a change at the import of a file could reach."""
        entering = {test for code, tests in self.tests.items() if code[0] == path for test in tests}
        return entering | {each for each in self.known if self.imports.could_import(each, path)}

    def affected(self, target: Target, source: str, trees: Iterable[ast.Module]) -> set[str]:
        """Return the tests that could end otherwise with another source.

        A function whose body alone changes matters to the tests that enter it. A change of its
        signature, decorators, name or existence matters to the tests that say its name; where
        code that runs at import says it or runs it, or the name is special, to all tests that
        could have imported its file.
        """
        entering = self.entering(target)
        at_import = any(code in self.always for code in self.functions(target))
        name = target.name.rpartition(".")[2]
        if not at_import and target.scope == "function":
            if same_outside(target.source, source):
                return entering | self.opaque
            special = name.startswith("__") or not source.strip()
            if not special and not any(mentioned_at_import(tree, name) for tree in trees):
                saying = self.looking | self.mentions.get(name, set())
                return entering | self.opaque | (saying & self.importing(target.path))
        return self.importing(target.path) | self.opaque


def same_outside(old: str, new: str) -> bool:
    """Whether two sources of a function differ in nothing but what happens once it is entered."""
    try:
        before, after = ast.parse(old).body, ast.parse(new).body
    except SyntaxError:
        return False
    return len(after) == 1 and _outside(before[0]) == _outside(after[0])


def _outside(node: ast.stmt) -> tuple[Any, ...]:
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return (ast.dump(node),)
    decorators = tuple(ast.dump(each) for each in node.decorator_list)
    suspends = _yields(node)
    return type(node), node.name, ast.dump(node.args), decorators, suspends


def _yields(node: ast.AST) -> bool:
    """Whether a function is a generator: calling it enters nothing."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Yield, ast.YieldFrom)):
            return True
        inner = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef))
        if not inner and _yields(child):
            return True
    return False


def mentioned_at_import(tree: ast.Module, name: str) -> bool:
    """Whether code that runs when a module is imported uses a name, other than to define it."""
    return any(_mentions(statement, name) for statement in tree.body)


def _mentions(node: ast.AST, name: str) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        parts: list[ast.AST] = [*node.decorator_list, node.args]
        return any(_mentions(part, name) for part in parts)
    if isinstance(node, ast.Lambda):
        return _mentions(node.args, name)
    if isinstance(node, ast.Name):
        return node.id == name and isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Attribute) and node.attr == name:
        return True
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == name and alias.asname not in (None, name) for alias in node.names)
    return any(_mentions(child, name) for child in ast.iter_child_nodes(node))
