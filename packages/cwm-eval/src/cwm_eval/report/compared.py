"""Two runs side by side: what changed, and whether chance alone explains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cwm_core.errors import DataError
from cwm_eval.comparison import Comparison, compare, detectable_difference
from cwm_eval.results import EvalRun
from cwm_eval.samples import Sample

_MOST_LISTED = 20


def scores_by_problem(run: EvalRun) -> dict[str, float]:
    """Return the share of right answers to each problem (of traces: exact or not).

    Raises `DataError` for a run whose samples hold neither.
    """
    sums: dict[str, list[float]] = {}
    for sample in run.samples:
        score = _score(sample)
        if score is not None:
            name = str(sample.metadata.get("problem", sample.task_id))
            sums.setdefault(name, []).append(score)
    if not sums:
        raise DataError(f"{run.path} has no scored answers", "finish the run first")
    return {name: sum(values) / len(values) for name, values in sums.items()}


def _score(sample: Sample) -> float | None:
    result = sample.result
    if result is None:
        return None
    if "right" in result:
        return float(result["right"])
    free = result.get("free")
    return None if free is None else float(free["exact"])


def comparison(first: EvalRun, second: EvalRun) -> Comparison:
    """Compare two runs of one benchmark; raises `DataError` when they share no problem."""
    if first.results["benchmark"] != second.results["benchmark"]:
        raise DataError(
            f"{first.path} measured {first.results['benchmark']}, {second.path} "
            f"{second.results['benchmark']}",
            "compare runs of the same benchmark",
        )
    found = compare(scores_by_problem(first), scores_by_problem(second))
    if found.problems == 0:
        raise DataError(
            f"{first.path} and {second.path} have no problem in common",
            "compare runs on the same data",
        )
    return found


def compared_values(first: EvalRun, second: EvalRun) -> dict[str, Any]:
    """Return the comparison, the smallest difference that it could show, and what changed."""
    found = comparison(first, second)
    discordant = (found.better + found.worse) / found.problems
    least = detectable_difference(found.problems, discordant)
    left, right = scores_by_problem(first), scores_by_problem(second)
    return {
        "first_label": first.results["label"],
        "second_label": second.results["label"],
        **found.to_json(),
        "detectable_difference": None if least != least else round(least, 6),
        "gained": _changed(left, right, 1),
        "lost": _changed(left, right, -1),
    }


def _changed(left: Mapping[str, float], right: Mapping[str, float], sign: int) -> list[str]:
    return [name for name in left if name in right and sign * (right[name] - left[name]) > 0]


def compared_text(first: EvalRun, second: EvalRun) -> str:
    """Return the comparison for a terminal."""
    values = compared_values(first, second)
    lines = [
        f"{values['first_label']}: {values['first']:.1%}",
        f"{values['second_label']}: {values['second']:.1%}",
        f"{values['problems']} problems in both: {values['better']} better, "
        f"{values['worse']} worse",
        f"difference {_signed(values['difference'])} ({_signed(values['low'])} to "
        f"{_signed(values['high'])}), p = {values['p_value']:.3g}",
    ]
    if values["detectable_difference"] is not None:
        least = values["detectable_difference"]
        lines.append(f"with so many problems, a difference of {least:.1%} shows 4 times in 5")
    for name, title in (("gained", "better"), ("lost", "worse")):
        if values[name]:
            more = ", ..." if len(values[name]) > _MOST_LISTED else ""
            lines.append(f"{title}: {', '.join(values[name][:_MOST_LISTED])}{more}")
    for name, which in (("only_first", "first"), ("only_second", "second")):
        if values[name]:
            lines.append(f"{values[name]} problems are in the {which} run only")
    return "\n".join(lines) + "\n"


def _signed(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:+.1f} points"
