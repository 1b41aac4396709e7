"""Workflow files: jobs, their matrices, and the job that tests best."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cwm_core.errors import DataError
from cwm_forager.images.activ.expressions import ExpressionError, Scope, Unknown, substitute

_TESTS = re.compile(
    r"\b(pytest|py\.test|unittest|tox|nox|nosetests|hatch (run )?test)\b|make \w*test"
)
_SYSTEMS = re.compile(r"windows|macos", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a workflow file."""

    file: str
    name: str
    body: Mapping[str, Any]
    workflow: Mapping[str, Any]


def load_workflow(path: Path) -> Mapping[str, Any]:
    """Return a workflow file's content; DataError when it is no mapping with jobs."""
    try:
        content = yaml.safe_load(path.read_text("utf-8", "replace"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"cannot read the workflow {path.name}: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("jobs"), dict):
        raise DataError(f"{path.name} is no workflow: it has no jobs")
    return content


def jobs_of(path: Path) -> list[Job]:
    """Return the jobs of a file that have steps."""
    content = load_workflow(path)
    return [
        Job(path.name, str(name), body, content)
        for name, body in content["jobs"].items()
        if isinstance(body, dict) and isinstance(body.get("steps"), list)
    ]


def test_score(job: Job) -> int:
    """Return how much a job looks like the one that runs the tests; 0 for one that does not."""
    texts = [str(step.get("run", "")) for step in job.body["steps"] if isinstance(step, dict)]
    score = 3 * sum(bool(_TESTS.search(text)) for text in texts)
    if not score:
        score = 2 * sum(bool(re.search(r"\bmake\b|\btest", text)) for text in texts)
    if not score:
        return 0
    words = f"{job.name} {job.file} {job.body.get('name', '')}".lower()
    score += 2 * ("test" in words) + ("ci" in words) - 2 * ("lint" in words) - 2 * ("doc" in words)
    return max(1, score)


def matrix_of(job: Job, scope: Scope) -> list[dict[str, Any]]:
    """Return the combinations of a job's matrix; one empty one where it has none.

    As GitHub does it: the product of the lists, without what ``exclude`` matches; an ``include``
    extends the combinations whose original values it does not overwrite, or else adds one.
    """
    matrix = (job.body.get("strategy") or {}).get("matrix")
    if isinstance(matrix, str):
        matrix = substitute(matrix, scope)
    if not isinstance(matrix, Mapping):
        return [{}]
    lists = {
        str(key): _values(value, scope)
        for key, value in matrix.items()
        if key not in ("include", "exclude")
    }
    made = [dict(zip(lists, each)) for each in itertools.product(*lists.values())] if lists else []
    for excluded in _mappings(matrix.get("exclude"), scope):
        made = [each for each in made if not _matches(each, excluded)]
    originals = [dict(each) for each in made]
    for included in _mappings(matrix.get("include"), scope):
        fitting = [
            index
            for index, original in enumerate(originals)
            if all(str(original[key]) == str(v) for key, v in included.items() if key in original)
        ]
        for index in fitting:
            made[index] |= included
        if not fitting:
            made.append(dict(included))
    return made or [{}]


def _values(value: Any, scope: Scope) -> list[Any]:
    if isinstance(value, str):
        try:
            value = substitute(value, scope)
        except ExpressionError:
            return []
    values = value if isinstance(value, list) else [value]
    return [_deep(each, scope) for each in values if not isinstance(each, Unknown) and each != ""]


def _deep(value: Any, scope: Scope) -> Any:
    return substitute(value, scope) if isinstance(value, str) and "${{" in value else value


def _mappings(value: Any, scope: Scope) -> Iterator[dict[str, Any]]:
    if isinstance(value, str):
        value = substitute(value, scope)
    for each in value or ():
        if isinstance(each, Mapping):
            yield {str(key): _deep(inner, scope) for key, inner in each.items()}


def _matches(combination: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(str(combination.get(key)) == str(value) for key, value in wanted.items())


def best_combination(
    combinations: list[dict[str, Any]],
    runs_on: Any,
    pythons: tuple[str, ...],
    preferred: Mapping[str, str],
) -> dict[str, Any]:
    """Return the combination that this base can play best: Linux, its Python, what is preferred."""

    def rank(combination: dict[str, Any]) -> tuple[int, ...]:
        text = " ".join(map(str, combination.values()))
        versions = re.findall(r"(?<![\d.])(3\.\d+)(?![\d.]*\d)", text)
        wanted = sum(str(combination.get(key)) != value for key, value in preferred.items())
        foreign = bool(_SYSTEMS.search(text)) + ("pypy" in text.lower())
        fits = [pythons.index(v) for v in versions if v in pythons]
        python = min(fits) if fits else (len(pythons) + bool(versions))
        return wanted, foreign, python

    return min(combinations, key=rank)
