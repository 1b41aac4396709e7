"""A training run as a report sees it: configuration, state, curves and figures."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cwm_core.config.yaml_files import read_yaml
from cwm_core.errors import DataError
from cwm_core.rundir import read_metrics, read_status

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Run:
    """What a run directory of `cwm train` says."""

    path: Path
    name: str
    state: str
    config: dict[str, str]
    """Values by dotted key."""
    entries: list[dict[str, Any]]
    """Lines of metrics.jsonl, each with ``tokens``."""

    def points(self, key: str) -> Points:
        """Return (tokens, value) where the value was logged and finite."""
        found = [(e["tokens"], e[key]) for e in self.entries if key in e]
        return [(x, y) for x, y in found if math.isfinite(y)]

    def keys(self, prefix: str) -> list[str]:
        """Return the names of the values that begin with a prefix, sorted."""
        return sorted({key for entry in self.entries for key in entry if key.startswith(prefix)})

    @property
    def tokens(self) -> float:
        """Tokens of documents seen."""
        return float(self.entries[-1]["tokens"])

    def loss_at(self, tokens: float) -> float | None:
        """Return the mean training loss over the last twentieth of the first `tokens` tokens."""
        near = [y for x, y in self.points("loss") if 0.95 * tokens <= x <= tokens]
        return statistics.fmean(near) if near else None


def read_run(path: Path) -> Run:
    """Read a run directory; raises `DataError` when it is none of `cwm train` or has no losses."""
    status = read_status(path)
    if status.get("command") != "train":
        raise DataError(
            f"{path} is no run directory of `cwm train`", "give the out= of a training run"
        )
    entries = _with_tokens(read_metrics(path / "metrics.jsonl"))
    if not any("loss" in entry for entry in entries):
        raise DataError(
            f"{path / 'metrics.jsonl'} has no losses yet", "let the run go on for a few steps"
        )
    config = _flat(read_yaml(path / "config.yaml"))
    return Run(path, path.resolve().name, str(status.get("state", "unknown")), config, entries)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Read several runs; those of one name are told apart by their directories."""
    runs = [read_run(path) for path in paths]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        return [Run(**{**vars(run), "name": str(run.path)}) for run in runs]
    return runs


def figures(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return rows of a table: a title, and a text per run."""
    common = min(run.tokens for run in runs)
    rows: dict[str, Callable[[Run], float | str | None]] = {
        "state": lambda run: run.state,
        "steps": lambda run: run.entries[-1]["step"],
        "tokens": lambda run: run.tokens,
        "minutes": lambda run: _last(run, "elapsed_s", 1 / 60),
        "training loss, last": lambda run: run.loss_at(run.tokens),
    }
    if len(runs) > 1:
        rows[f"training loss at {common:,.0f} tokens"] = lambda run: run.loss_at(common)
    for key in sorted({key for run in runs for key in run.keys("validation/")}):
        rows[key.replace("/", " ").replace("_", " ")] = partial(_last, key=key)
    for key in sorted({key for run in runs for key in run.keys("share/")}):
        rows[f"share of {key.removeprefix('share/')} in the tokens"] = partial(_last, key=key)
    rows["share of time waiting for data, median"] = lambda run: _median(run, "data_wait")
    rows["tokens/s, median"] = lambda run: _median(run, "tokens_per_s")
    if any(run.keys("mfu") for run in runs):
        rows["MFU, median"] = lambda run: _median(run, "mfu")
    rows["skipped steps"] = lambda run: _last(run, "skipped_steps")
    rows["peak memory, GiB"] = lambda run: _last(run, "peak_memory_bytes", 2**-30)
    return {title: [_text(value(run)) for run in runs] for title, value in rows.items()}


def differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return the configuration keys in which runs differ, with the value of each."""
    keys = sorted({key for run in runs for key in run.config} - {"out"})
    values = {key: [run.config.get(key, "–") for run in runs] for key in keys}
    return {key: texts for key, texts in values.items() if len(set(texts)) > 1}


def _with_tokens(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Validation lines have no count of their own: they take that of the line before."""
    tokens = 0.0
    result = []
    for entry in entries:
        tokens = entry.get("tokens", tokens)
        result.append({**entry, "tokens": tokens})
    return result


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: str(value)}
    return flat


def _last(run: Run, key: str, factor: float = 1.0) -> float | None:
    points = run.points(key)
    return points[-1][1] * factor if points else None


def _median(run: Run, key: str) -> float | None:
    points = run.points(key)
    return statistics.median(y for _, y in points) if points else None


def _text(value: float | str | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"
