"""Best@k: of k patches or programs, the one that existing and generated tests prefer.

As the CWM report describes its choice for SWE-bench Verified (arXiv 2510.02387): run the existing
tests and the five generated tests with the largest majority, break ties by majority, then by
fewest tokens. Its ranking code was not released; what is ours is written at each step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from cwm_eval.statistics import MOST_SUBSETS, subsets

TOP_TESTS = 5


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer and what running it showed.

    `answer` is the patch or program: equal ones vote together. `existing` is the share (0 to 1) of
    the existing tests that pass, `generated` says by test whether a generated one passes.
    """

    answer: str
    tokens: int
    existing: float = 1.0
    generated: Mapping[str, bool] = field(default_factory=dict)
    empty: bool = False
    """There is no answer; chosen only where nothing else is."""


def majority_tests(candidates: Sequence[Candidate], top: int = TOP_TESTS) -> list[str]:
    """Return the generated tests that most candidates pass, at most `top`.

    Only candidates count that break no existing test, where there are any. A test that nobody
    passes asks for something else than what all candidates do, so it says nothing; ties go to the
    test that was generated first.
    """
    intact = [c for c in candidates if not c.empty and c.existing >= 1.0]
    voters = intact or [c for c in candidates if not c.empty]
    votes: Counter[str] = Counter()
    for candidate in voters:
        for name, passed in candidate.generated.items():
            votes[name] += passed
    ordered = sorted(votes, key=lambda name: -votes[name])
    return [name for name in ordered if votes[name] > 0][:top]


def normal_form(answer: str) -> str:
    """Return an answer without what does not matter in a patch: blank lines, hunk positions."""
    kept = []
    for line in answer.splitlines():
        if line.startswith("@@"):
            line = "@@"
        elif line.startswith("index "):
            continue
        if line.strip():
            kept.append(line.rstrip())
    return "\n".join(kept)


def choose(candidates: Sequence[Candidate], top: int = TOP_TESTS) -> int:
    """Return the index of the best candidate.

    Order: an answer at all, existing tests, how many of the majority tests pass, how many
    candidates gave the same answer, fewest tokens, earliest. Raises ValueError without candidates.
    """
    if not candidates:
        raise ValueError("there is nothing to choose from")
    tests = majority_tests(candidates, top)
    forms = [normal_form(candidate.answer) for candidate in candidates]
    same = Counter(f for f, candidate in zip(forms, candidates) if not candidate.empty)

    def rank(index: int) -> tuple[bool, float, int, int, int, int]:
        candidate = candidates[index]
        passed = sum(candidate.generated.get(name, False) for name in tests)
        votes = same[forms[index]]
        return (
            not candidate.empty,
            candidate.existing,
            passed,
            votes,
            -candidate.tokens,
            -index,
        )

    return max(range(len(candidates)), key=rank)


def best_at_k(
    candidates: Sequence[Candidate],
    right: Sequence[bool],
    k: int,
    *,
    top: int = TOP_TESTS,
    most: int = MOST_SUBSETS,
    seed: int = 0,
) -> float:
    """Return how often the choice among k candidates is right, over choices of k of them.

    All subsets where there are at most `most`, else so many random ones (seeded); NaN with fewer
    than k candidates. Raises ValueError when `right` does not fit.
    """
    if len(candidates) != len(right) or k < 1:
        raise ValueError(f"{len(candidates)} candidates, {len(right)} verdicts, k = {k}")
    if len(candidates) < k:
        return math.nan
    found = [
        right[subset[choose([candidates[index] for index in subset], top)]]
        for subset in subsets(len(candidates), k, most=most, seed=seed)
    ]
    return float(np.mean(found))
