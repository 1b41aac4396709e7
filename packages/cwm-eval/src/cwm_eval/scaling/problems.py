"""The answers of a finished run by problem, and what of them may be seen by a choice."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cwm_core.errors import DataError
from cwm_eval.benchmarks.text_metrics import by_problem
from cwm_eval.results import EvalRun
from cwm_eval.samples import Sample
from cwm_eval.scaling.best_at_k import Candidate, normal_form


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with its answers, in the order of their numbers."""

    id: str
    metadata: Mapping[str, Any]
    results: tuple[Mapping[str, Any], ...]


def read_problems(run: EvalRun) -> list[Problem]:
    """Return the problems of a run with what was answered to each.

    Raises `DataError` where there is nothing to choose from.
    """
    groups = by_problem(each for each in run.samples if _is_answer(each))
    if not groups:
        raise DataError(
            f"{run.path} holds no graded answers ({run.results['benchmark']})",
            "give a run of a benchmark with questions, or of swebench",
        )
    if all(len(group) < 2 for group in groups.values()):
        raise DataError(
            f"{run.path} has one answer per problem, so there is nothing to choose from",
            "evaluate with benchmark.samples=20 benchmark.temperature=1 first",
        )
    return [_problem(name, group) for name, group in groups.items()]


def _is_answer(sample: Sample) -> bool:
    wanted = {"right", "answer", "outcome", "new_tokens"}
    return sample.result is not None and wanted <= sample.result.keys()


def _problem(name: str, group: Sequence[Sample]) -> Problem:
    metadata = {**group[0].metadata, "problem": name, "sample": 0}
    return Problem(name, metadata, tuple(each.result for each in group if each.result is not None))


def is_empty(result: Mapping[str, Any]) -> bool:
    """Whether a sample holds no answer."""
    return result["outcome"] == "no_answer" or not str(result["answer"]).strip()


def length(result: Mapping[str, Any]) -> int:
    """Return the tokens of an answer; of one that was stored without, its characters."""
    return int(result["new_tokens"]) or len(str(result["answer"]))


def patch_form(patch: str) -> str:
    """Return what patches have in common that vote together, 16 hex digits."""
    return _hash(normal_form(patch))


def program_form(program: str) -> str:
    """Return what programs have in common that vote together, 16 hex digits.

    Layout, comments and docstrings do not matter.
    """
    try:
        tree = ast.parse(program)
        for node in ast.walk(tree):
            if ast.get_docstring(node, clean=False) if isinstance(node, _DOCUMENTED) else None:
                del node.body[0]  # type: ignore[attr-defined]
        return _hash(ast.unparse(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _hash(normal_form(program))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


_DOCUMENTED = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def to_json(candidate: Candidate, verified: float | None, right: bool) -> dict[str, Any]:
    """Return a candidate as a sample stores it; `right` is for the figures only."""
    return {
        "form": candidate.answer,
        "tokens": candidate.tokens,
        "existing": candidate.existing,
        "generated": [name for name, passed in candidate.generated.items() if passed],
        "verified": verified,
        "empty": candidate.empty,
        "right": right,
    }


def from_json(row: Mapping[str, Any], tests: Sequence[str]) -> Candidate:
    """Return a stored candidate; `tests` are the generated tests of its problem, in order."""
    passed = set(row["generated"])
    return Candidate(
        row["form"],
        row["tokens"],
        row["existing"],
        {name: name in passed for name in tests},
        empty=row["empty"],
    )
