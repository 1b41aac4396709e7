"""Finding programs that differ in little more than names and constants."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING

from cwm_tracer.programs.normal_form import NormalForm
from cwm_tracer.programs.program import Program

if TYPE_CHECKING:
    from datasketch import MinHash

PERMUTATIONS = 64
"""Hash permutations of a MinHash signature."""

RECALL = 0.98
"""Least probability that a pair exactly at the threshold becomes a candidate."""


def bands(threshold: float) -> tuple[int, int]:
    """Bands and rows per band: the most rows (fewest false candidates) that reach `RECALL`.

    A pair of similarity s shares a band with probability 1 - (1 - s^rows)^bands.
    Raises ValueError for a threshold outside (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold must be in (0, 1], got {threshold}")
    for rows in range(PERMUTATIONS // 2, 1, -1):
        count = PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** count >= RECALL:
            return count, rows
    return PERMUTATIONS, 1


def _same(value: int) -> int:
    return value


class NearDuplicateIndex:
    """Normal forms by key, queried for near-duplicates.

    Two programs are near-duplicates if their normal forms are equal, or if the Jaccard similarity
    of their shingle sets is at least `threshold`. Candidates come from MinHash
    locality-sensitive hashing (Broder 1997; Indyk and Motwani 1998), which finds a pair well
    above the threshold almost surely and one just at it mostly; every candidate is then
    checked on the shingles themselves.
    """

    def __init__(self, threshold: float = 0.8) -> None:
        from datasketch import MinHashLSH

        self.threshold = threshold
        self._lsh = MinHashLSH(num_perm=PERMUTATIONS, params=bands(threshold))
        self._shingles: dict[Hashable, frozenset[int]] = {}
        self._seed = _signature(set())

    def __len__(self) -> int:
        return len(self._shingles)

    def add(self, key: Hashable, shingles: set[int]) -> None:
        """Enter a program under a new key."""
        self._shingles[key] = frozenset(shingles)
        self._lsh.insert(key, self._sign(shingles))

    def add_and_match(self, key: Hashable, shingles: set[int]) -> list[Hashable]:
        """The near-duplicates that were entered before; then enter the program itself."""
        signature = self._sign(shingles)
        found = self._check(shingles, self._lsh.query(signature))
        self._shingles[key] = frozenset(shingles)
        self._lsh.insert(key, signature)
        return found

    def matches(self, shingles: set[int]) -> list[Hashable]:
        """Keys of the near-duplicates that were entered."""
        return self._check(shingles, self._lsh.query(self._sign(shingles)))

    def _check(self, shingles: set[int], keys: Iterable[Hashable]) -> list[Hashable]:
        return [key for key in keys if jaccard(shingles, self._shingles[key]) >= self.threshold]

    def _sign(self, shingles: set[int]) -> MinHash:
        signature = self._seed.copy()
        signature.update_batch(list(shingles))
        return signature


def _signature(shingles: set[int]) -> MinHash:
    from datasketch import MinHash

    signature = MinHash(num_perm=PERMUTATIONS, hashfunc=_same)
    if shingles:
        signature.update_batch(list(shingles))
    return signature


def jaccard(one: set[int] | frozenset[int], two: set[int] | frozenset[int]) -> float:
    """|A and B| / |A or B|; 1 for two empty sets."""
    common = len(one & two)
    total = len(one) + len(two) - common
    return common / total if total else 1.0


class HeldOut:
    """Held-out programs, against which training programs are checked one by one."""

    def __init__(self, programs: Iterable[Program], threshold: float = 0.8) -> None:
        self._index = NearDuplicateIndex(threshold)
        self._digests: set[str] = set()
        for program in programs:
            form = NormalForm(program.source)
            if form.digest not in self._digests:
                self._digests.add(form.digest)
                self._index.add(form.digest, form.shingles())

    def resembles(self, program: Program) -> bool:
        """Is the program a near-duplicate of a held-out one?"""
        form = NormalForm(program.source)
        return form.digest in self._digests or bool(self._index.matches(form.shingles()))

    def filter(self, programs: Iterable[Program]) -> Iterator[Program]:
        """The programs that are no near-duplicates of held-out ones, lazily."""
        return (program for program in programs if not self.resembles(program))


def near_duplicates_of(held_out: Iterable[Program], threshold: float = 0.8) -> HeldOut:
    """A filter that drops training programs which are near-duplicates of held-out programs.

    `near_duplicates_of(test).filter(stream)` works on endless streams: memory grows with the
    held-out programs only.
    """
    return HeldOut(held_out, threshold)
