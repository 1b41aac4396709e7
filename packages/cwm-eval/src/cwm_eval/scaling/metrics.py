"""Figures of choices: best@k, majority@k, verified@k, and what bounds them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cwm_eval.benchmarks.base import MetricInfo, Summary
from cwm_eval.samples import Sample
from cwm_eval.scaling.best_at_k import Candidate, best_at_k
from cwm_eval.scaling.problems import from_json
from cwm_eval.statistics import Estimate, majority_at_k, mean_of, pass_at_k, proportion

SUBSETS = 200
"""Choices of k answers that are tried per problem; all, where there are fewer."""
_KINDS = {
    "best": "Of {k} answers, the one that tests, votes and length prefer is right.",
    "majority": "Of {k} answers, the most frequent is right; ties count in part.",
    "verified": "Of {k} answers, the one whose predicted executions agree most is right.",
    "pass": "One of {k} answers is right (unbiased): no choice can be better.",
}
Rows = Sequence[Mapping[str, Any]]


def infos(ks: Sequence[int]) -> dict[str, MetricInfo]:
    """Return how the metrics for these k are shown."""
    shown = {"accuracy": MetricInfo("Any answer", "Share of all answers that are right (pass@1).")}
    for kind, about in _KINDS.items():
        for k in ks:
            shown[f"{kind}@{k}"] = MetricInfo(f"{kind}@{k}", about.format(k=k))
    return shown


def usual_ks(most: int) -> tuple[int, ...]:
    """Return the powers of two up to a number, and the number."""
    return (*(2**n for n in range(1, most.bit_length()) if 2**n < most), most)


def summarise(samples: Iterable[Sample], ks: Sequence[int]) -> Summary:
    """Return metrics and counts; intervals resample problems, seeded.

    A problem with fewer than k answers says nothing about k of them and is left out there.
    """
    found = {s.task_id: s.result for s in samples if s.result is not None}
    rows = {name: result["candidates"] for name, result in found.items()}
    right = [bool(row["right"]) for each in rows.values() for row in each]
    clusters = [name for name, each in rows.items() for _ in each]
    metrics: dict[str, Estimate] = {"accuracy": proportion(right, clusters)}
    for kind, measure in _measures(found):
        for k in ks:
            values = {name: measure(name, k) for name in rows}
            kept = {name: value for name, value in values.items() if not math.isnan(value)}
            metrics[f"{kind}@{k}"] = mean_of(list(kept.values()), list(kept))
    return Summary(metrics, counts=_counts(found))


def _measures(
    found: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[str, Callable[[str, int], float]]]:
    """Yield how each kind of choice is measured on a problem."""
    rows = {name: result["candidates"] for name, result in found.items()}
    right = {name: [bool(row["right"]) for row in each] for name, each in rows.items()}
    tested = {
        name: [from_json(row, result["tests"]) for row in result["candidates"]]
        for name, result in found.items()
    }
    yield "best", lambda name, k: best_at_k(tested[name], right[name], k, most=SUBSETS)
    yield (
        "majority",
        lambda name, k: majority_at_k(
            [None if row["empty"] else row["form"] for row in rows[name]],
            right[name],
            k,
            most=SUBSETS,
        ),
    )
    if any(row["verified"] is not None for each in rows.values() for row in each):
        trusted = {
            name: [_trusted(c, row) for c, row in zip(tested[name], rows[name])] for name in rows
        }
        yield "verified", lambda name, k: best_at_k(trusted[name], right[name], k, most=SUBSETS)
    yield "pass", lambda name, k: pass_at_k(len(right[name]), sum(right[name]), k)


def _trusted(candidate: Candidate, row: Mapping[str, Any]) -> Candidate:
    """Return a candidate of which only the model's own predictions are known."""
    share = row["verified"]
    return replace(candidate, existing=1.0 if share is None else share, generated={})


def _counts(found: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    results = found.values()
    return {
        "problems": len(found),
        "answers": sum(len(result["candidates"]) for result in results),
        "shown_tests": sum(result.get("shown_tests", 0) for result in results),
        "generated_tests": sum(len(result["tests"]) for result in results),
        "without_tests": sum(
            not result.get("shown_tests") and not result["tests"] for result in results
        ),
        "generated_tokens": sum(result["choice_tokens"] for result in results),
    }
