"""Loss and speed of a training run, from its metrics.jsonl."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cwm_core.errors import DataError
from cwm_core.rundir import read_metrics
from cwm_eval.report.charts import Series

_ACCURACY = re.compile(r"^(val|valid|validation|eval)[_/.](frame|token)_accuracy$")
_VALIDATION = re.compile(r"^(val|valid|validation|eval)[_/.](.*_)?loss$")
_POINTS = 240


@dataclass(frozen=True, slots=True)
class Training:
    """What a report shows of a training run."""

    path: Path
    losses: list[Series]
    """Loss over training tokens (or steps), in nats."""
    accuracies: list[Series]
    """Teacher-forced accuracy on validation documents; may be empty."""
    x_title: str
    facts: dict[str, str] = field(default_factory=dict)


def read_training(path: Path) -> Training:
    """Read a training run directory; raises `DataError` when it has no losses."""
    if not (path / "metrics.jsonl").is_file():
        raise DataError(f"{path} has no metrics.jsonl", "give a run directory of `cwm train`")
    entries = read_metrics(path / "metrics.jsonl")
    x_key = "tokens" if any("tokens" in entry for entry in entries) else "step"
    loss = _points(entries, x_key, "loss")
    losses = [Series("training", _thin(loss))] if loss else []
    losses += _matching(entries, x_key, _VALIDATION, "validation")
    if not losses:
        raise DataError(
            f"{path / 'metrics.jsonl'} has no losses", "let the training run for a few steps"
        )
    accuracies = _matching(entries, x_key, _ACCURACY, None)
    return Training(path, losses, accuracies, f"training {x_key}", _facts(entries, loss))


def _matching(
    entries: Sequence[dict[str, Any]], x_key: str, pattern: re.Pattern[str], name: str | None
) -> list[Series]:
    keys = sorted({key for entry in entries for key in entry if pattern.match(key)})
    return [
        Series(name or re.split("[/.]", key)[-1].replace("_", " "), _thin(points))
        for key in keys[:2]
        if (points := _points(entries, x_key, key))
    ]


def _points(entries: Sequence[dict[str, Any]], x_key: str, key: str) -> list[tuple[float, float]]:
    last_x = 0.0
    points = []
    for entry in entries:
        last_x = float(entry.get(x_key, last_x))
        value = entry.get(key)
        if isinstance(value, (int, float)) and math.isfinite(value):
            points.append((last_x, float(value)))
    return points


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Average neighbours so that a curve stays readable and the page small."""
    size = math.ceil(len(points) / _POINTS)
    if size <= 1:
        return points
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(g[-1][0], sum(y for _, y in g) / len(g)) for g in groups]


def _facts(
    entries: Sequence[dict[str, Any]], loss: Sequence[tuple[float, float]]
) -> dict[str, str]:
    facts = {"steps": f"{entries[-1]['step']:,}"}
    if loss:
        facts["last training loss"] = f"{loss[-1][1]:.4f}"
    tokens = [entry["tokens"] for entry in entries if "tokens" in entry]
    speeds = sorted(entry["tokens_per_s"] for entry in entries if entry.get("tokens_per_s"))
    if tokens:
        facts["training tokens"] = f"{tokens[-1]:,.0f}"
    if speeds:
        facts["median training tokens/s"] = f"{speeds[len(speeds) // 2]:,.0f}"
    return facts
