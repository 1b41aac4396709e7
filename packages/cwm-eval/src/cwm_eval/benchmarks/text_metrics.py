"""Metrics of graded answers, from samples to estimates and breakdowns."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cwm_eval.benchmarks.base import MetricInfo, Summary
from cwm_eval.samples import Sample
from cwm_eval.statistics import Estimate, majority_at_k, mean_of, pass_at_k, proportion

_DIMENSIONS = ("subject", "level", "difficulty", "platform", "kind", "month")
_SCORES: dict[str, MetricInfo] = {
    "output": MetricInfo("Output", "The value that the answer ends with is right."),
    "valid": MetricInfo("Valid format", "The text follows the wire format to its end."),
    "exact": MetricInfo("Whole trace", "Every frame of the predicted execution is right."),
    "public_tests": MetricInfo("Public tests", "The tests shown in the question pass."),
    "tests": MetricInfo("Tests", "Share of a problem's tests that pass."),
    "patch": MetricInfo("Patch", "The answer holds a patch that can be applied."),
}


def infos(ks: Sequence[int]) -> dict[str, MetricInfo]:
    """Return how the metrics for these k are shown."""
    shown = {
        "accuracy": MetricInfo("Right", "Share of all answers that are right (pass@1)."),
        **{
            f"pass@{k}": MetricInfo(
                f"pass@{k}", f"A problem counts when one of {k} answers is right (unbiased)."
            )
            for k in ks
            if k > 1
        },
        "majority": MetricInfo(
            "Majority", "The most frequent answer to a problem is right; ties count in part."
        ),
        "all": MetricInfo("All", "All answers, or all parts of a problem, are right."),
        "answered": MetricInfo("Answered", "An answer could be read from the text."),
        "finished": MetricInfo("Finished", "The text was not cut off by the token limit."),
    }
    return {**shown, **_SCORES}


def summarise(samples: Iterable[Sample], ks: Sequence[int]) -> Summary:
    """Return metrics, breakdowns and counts; intervals resample problems, seeded."""
    found = [sample for sample in samples if sample.result is not None]
    metrics = dict(_metrics(found, ks))
    breakdowns = {
        dimension: groups for dimension in _DIMENSIONS if (groups := _breakdown(found, dimension))
    }
    return Summary(metrics, breakdowns, _counts(found))


def _problem(sample: Sample) -> str:
    return str(sample.metadata.get("problem", sample.task_id))


def by_problem(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Return the samples of each problem, in the order of their numbers."""
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[_problem(sample)].append(sample)
    return {
        name: sorted(group, key=lambda each: each.metadata.get("sample", 0))
        for name, group in groups.items()
    }


def _metrics(samples: Sequence[Sample], ks: Sequence[int]) -> Iterator[tuple[str, Estimate]]:
    groups = by_problem(samples)
    problems = list(groups)
    right = {name: [_right(sample) for sample in group] for name, group in groups.items()}
    clusters = [name for name in problems for _ in right[name]]
    yield "accuracy", proportion([r for name in problems for r in right[name]], clusters)
    for k in ks:
        if k > 1:
            values = [pass_at_k(len(right[n]), sum(right[n]), k) for n in problems]
            defined = [(v, n) for v, n in zip(values, problems) if not math.isnan(v)]
            yield f"pass@{k}", mean_of([v for v, _ in defined], [n for _, n in defined])
    if any(len(group) > 1 for group in groups.values()):
        votes = [_majority(group) for group in groups.values()]
        yield "majority", mean_of(votes, problems)
        yield "all", mean_of([float(all(right[n])) for n in problems], problems)
    for name, judge in (("answered", _answered), ("finished", _finished)):
        yield name, proportion([judge(s.result) for s in _flat(groups)], clusters)
    given = {name for s in _flat(groups) if s.result for name in s.result["scores"]}
    for name in (*_SCORES, *sorted(given - _SCORES.keys())):
        scored = [s for s in _flat(groups) if s.result and name in s.result["scores"]]
        if scored:
            values = [float(s.result["scores"][name]) for s in scored if s.result]
            yield name, mean_of(values, [_problem(s) for s in scored])


def _right(sample: Sample) -> bool:
    return sample.result is not None and bool(sample.result["right"])


def _flat(groups: Mapping[str, list[Sample]]) -> list[Any]:
    return [sample for group in groups.values() for sample in group]


def _majority(group: Sequence[Any]) -> float:
    answers = [s.result["answer"] if _answered(s.result) else None for s in group]
    return majority_at_k(answers, [_right(sample) for sample in group])


def _answered(result: Mapping[str, Any]) -> bool:
    return result["outcome"] != "no_answer"


def _finished(result: Mapping[str, Any]) -> bool:
    return bool(result["finish"] != "length")


def _breakdown(samples: Sequence[Sample], dimension: str) -> dict[str, dict[str, Estimate]]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if (value := sample.metadata.get(dimension)) is not None:
            groups[str(value)].append(sample)
    if len(groups) < 2:
        return {}
    return {name: dict(_metrics(groups[name], (1,))) for name in sorted(groups)}


def _counts(samples: Sequence[Sample]) -> dict[str, int]:
    results = [sample.result for sample in samples if sample.result is not None]
    outcomes = Counter(str(result["outcome"]) for result in results)
    return {
        "problems": len({_problem(sample) for sample in samples}),
        "answers": len(results),
        "prompt_tokens": sum(result["prompt_tokens"] for result in results),
        "generated_tokens": sum(result["new_tokens"] for result in results),
        **{f"outcome_{name}": outcomes[name] for name in sorted(outcomes)},
    }
