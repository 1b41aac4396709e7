"""Which places are broken in which way: a seeded stream of candidates."""

from __future__ import annotations

import ast
import hashlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from cwm_core.errors import CwmError
from cwm_forager.mutate.base import Mutator
from cwm_forager.mutate.patches import changed_lines, unified_diff
from cwm_forager.mutate.reach import Reach, same_outside
from cwm_forager.mutate.targets import Target, is_test_file, replaced, targets

TRIES = 20
"""Rewrites looked at for one pair of target and operator."""
GIVE_UP = 400
"""Fruitless pairs in a row after which a repository has no more to give."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A changed file, and the tests that could notice."""

    index: int
    """Place in the stream."""
    path: str
    text: str
    """The whole file after the change."""
    patch: str
    operators: tuple[str, ...]
    functions: tuple[str, ...]
    tests: frozenset[str]
    """Tests that could end otherwise."""
    explanation: str = ""

    @property
    def hash(self) -> str:
        """Eight hex digits that stand for the patch."""
        return hashlib.sha256(self.patch.encode()).hexdigest()[:8]


class Chooser:
    """Draws candidates: operators by their weight, places by how covered and complex they are.

    `combined` is the share of candidates to which further operators, up to `most` in all, are
    applied in the same file. The stream depends on the arguments alone.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        reach: Reach,
        mutators: Mapping[str, tuple[Mutator, float]],
        *,
        seed: int = 0,
        combined: float = 0.1,
        most: int = 3,
    ) -> None:
        self._sources = {path: text for path, text in sources.items() if not is_test_file(path)}
        self._trees = _parsed(sources)
        self._reach = reach
        self._mutators = {name: it for name, it in mutators.items() if it[1] > 0}
        self._random = Random(seed)
        self._combined, self._most = combined, most
        self._targets = [
            target for path, text in sorted(self._sources.items()) for target in targets(path, text)
        ]
        self._weights = [self._weight(target) for target in self._targets]
        self._seen: set[str] = set()

    def _weight(self, target: Target) -> float:
        """Covered and complex code first; code that no test runs never."""
        if target.scope == "import":
            return 1.0 if any(path == target.path for path, _ in self._reach.tests) else 0.0
        tests = len(self._reach.entering(target))
        return math.sqrt(target.complexity) * math.log2(1 + tests) if tests else 0.0

    def __iter__(self) -> Iterator[Candidate]:
        """Yield candidates until the repository has no more to give."""
        fruitless = index = 0
        while fruitless < GIVE_UP:
            candidate = self._draw(index)
            if candidate is None or candidate.hash in self._seen:
                fruitless += 1
                continue
            self._seen.add(candidate.hash)
            yield candidate
            fruitless, index = 0, index + 1

    def _draw(self, index: int) -> Candidate | None:
        target, name = self._pick(self._targets, self._weights)
        if target is None or name is None:
            return None
        candidate = self._changed(index, self._sources[target.path], target, name)
        if candidate is None or self._random.random() >= self._combined:
            return candidate
        for _ in range(self._random.randint(1, self._most - 1)):
            candidate = self._further(candidate)
        return candidate

    def _pick(
        self, choices: Sequence[Target], weights: Sequence[float]
    ) -> tuple[Target | None, str | None]:
        """Pick an operator, then one of the places that it fits."""
        names = sorted(self._mutators)
        if not names:
            return None, None
        name = self._random.choices(names, [self._mutators[each][1] for each in names])[0]
        scope = self._mutators[name][0].scope
        fits = [
            (target, weight)
            for target, weight in zip(choices, weights, strict=True)
            if target.scope == scope and weight > 0
        ]
        if not fits:
            return None, None
        found = self._random.choices([f[0] for f in fits], [f[1] for f in fits])[0]
        return found, name

    def _changed(self, index: int, text: str, target: Target, name: str) -> Candidate | None:
        """Return the first rewrite that parses, differs and touches what tests run."""
        original = self._sources[target.path]
        for source in self._rewrites(target, name):
            if not _differs(target.source, source) or not self._is_covered(target, source):
                continue
            new = replaced(text, target, source)
            if not _parses(new):
                continue
            affected = self._reach.affected(target, source, self._trees)
            return Candidate(
                index,
                target.path,
                new,
                unified_diff(target.path, original, new),
                (name,),
                (target.name,),
                frozenset(affected),
                getattr(self._mutators[name][0], "explanation", ""),
            )
        return None

    def _rewrites(self, target: Target, name: str) -> Iterator[str]:
        """Yield what a mutator proposes; one that crashes is warned about, and gives nothing.

        Its CwmError, such as a model server that does not answer, is raised: it would come again.
        """
        random = Random(self._random.getrandbits(64))
        try:
            for count, source in enumerate(
                self._mutators[name][0].mutations(target.source, random)
            ):
                if count >= TRIES:
                    return
                yield source
        except CwmError:
            raise
        except Exception as error:
            _log.warning("mutator %s failed on %s: %r", name, target.name, error)

    def _is_covered(self, target: Target, source: str) -> bool:
        if target.scope != "function":
            return True
        changed = changed_lines(target.source, source)
        lines = {line + target.first - 1 for line in changed}
        covered = self._reach.lines.get(target.path, set())
        return bool(lines & covered) or not same_outside(target.source, source)

    def _further(self, first: Candidate) -> Candidate:
        """Apply one more operator to the same file, where it does something."""
        text = first.text
        choices = [t for t in targets(first.path, text) if t.name not in first.functions]
        known = {(t.scope, t.name): t for t in self._targets if t.path == first.path}
        originals = [known.get((t.scope, t.name)) for t in choices]
        weights = [0.0 if o is None else self._weight(o) for o in originals]
        target, name = self._pick(choices, weights)
        if target is None or name is None:
            return first
        original = known[target.scope, target.name]
        for source in self._rewrites(target, name):
            new = replaced(text, target, source)
            if not _differs(target.source, source) or not _parses(new):
                continue
            affected = self._reach.affected(original, source, self._trees)
            return replace(
                first,
                text=new,
                patch=unified_diff(first.path, self._sources[first.path], new),
                operators=(*first.operators, name),
                functions=(*first.functions, target.name),
                tests=first.tests | affected,
            )
        return first


def _differs(old: str, new: str) -> bool:
    """Whether a rewritten place means something else; one that cannot be read alone may."""
    before = _meaning(old)
    return before is None or before != _meaning(new)


def _meaning(source: str) -> str | None:
    try:
        return ast.dump(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError):
        return None


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def _parsed(sources: Mapping[str, str]) -> list[ast.Module]:
    trees = []
    for text in sources.values():
        try:
            trees.append(ast.parse(text))
        except (SyntaxError, ValueError):
            continue
    return trees
