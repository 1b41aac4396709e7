"""results.json: what a run measured, on what, how fast and where."""

from __future__ import annotations

import json
import platform
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.config import CommandConfig
from cwm_core.cores import usable_cores
from cwm_core.errors import DataError
from cwm_eval.benchmarks.base import Benchmark, MetricInfo, Summary
from cwm_eval.config import EvalConfig, GradeConfig
from cwm_eval.samples import Sample, read_samples

RESULTS = "results.json"
SAMPLES = "samples.jsonl"


@dataclass(frozen=True, slots=True)
class EvalRun:
    """A finished run directory of `cwm eval`."""

    path: Path
    results: dict[str, Any]

    @property
    def samples(self) -> list[Sample]:
        """The last sample of every task."""
        return list(read_samples(self.path / SAMPLES))


def load_run(path: Path) -> EvalRun:
    """Open a run directory; raises `DataError` when it holds no results."""
    file = path / RESULTS
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = "`cwm eval` writes it when all tasks are done; start it again to continue"
        problem = "does not exist" if not path.exists() else f"holds no {RESULTS}"
        raise DataError(f"{path} {problem}", hint) from None
    except (ValueError, OSError) as error:
        raise DataError(f"{file} cannot be read: {error}", "delete it and evaluate again") from None
    if not isinstance(results, dict) or not {"metrics", "counts", "label"} <= results.keys():
        raise DataError(f"{file} is no result of `cwm eval`", "delete it and evaluate again")
    return EvalRun(path, results)


def write_results(
    config: CommandConfig, benchmark: Benchmark, path: Path, origin: Mapping[str, Any]
) -> EvalRun:
    """Score the samples of a run directory and write results.json there; `origin_of` labels it.

    Samples are scored in the order of their ids, so that nothing depends on which finished first.
    """
    samples = sorted(read_samples(path / SAMPLES), key=lambda sample: sample.task_id)
    summary = benchmark.summarise(samples)
    results = {
        **origin,
        "metrics": {
            name: {**_info(benchmark, name), **estimate.to_json()}
            for name, estimate in summary.metrics.items()
        },
        "breakdowns": _breakdowns(summary),
        "counts": {**_outcomes(samples), **summary.counts},
        "timing": _timing(samples, summary),
        "machine": machine_facts(),
        "config": config.model_dump(mode="json"),
    }
    atomic_write(path / RESULTS, json.dumps(results, indent=2) + "\n")
    return EvalRun(path, results)


def origin_of(config: EvalConfig | GradeConfig) -> dict[str, Any]:
    """Say what was measured (an `EvalConfig` or a `GradeConfig`), and whose answers these are."""
    measured = {
        "label": config.label or _default_label(config),
        "benchmark": config.benchmark.name,
    }
    if isinstance(config, GradeConfig):
        stored = f"answers of {config.answers.name}"
        return {**measured, "out_of_distribution": False, "engine": stored, "train_run": None}
    return {
        **measured,
        "out_of_distribution": config.out_of_distribution,
        "engine": config.engine.name,
        "train_run": None if config.train_run is None else str(config.train_run),
    }


def _default_label(config: EvalConfig | GradeConfig) -> str:
    fields = config.benchmark.model_dump(mode="json")
    where = fields.get("data") or config.benchmark.name
    return f"{Path(where).name} ({fields['split']})" if "split" in fields else str(where)


def _info(benchmark: Benchmark, name: str) -> dict[str, str]:
    info = benchmark.metric_infos.get(name, MetricInfo(name.replace("_", " ").capitalize(), ""))
    return {"title": info.title, "about": info.about, "unit": info.unit}


def _breakdowns(summary: Summary) -> dict[str, Any]:
    return {
        dimension: {
            group: {name: estimate.to_json() for name, estimate in estimates.items()}
            for group, estimates in groups.items()
        }
        for dimension, groups in summary.breakdowns.items()
    }


def _outcomes(samples: list[Sample]) -> dict[str, int]:
    kinds = Counter(
        "skipped" if s.skipped is not None else "infrastructure_failures" if s.error else "scored"
        for s in samples
    )
    retried = sum(sample.attempts > 1 for sample in samples)
    return {
        "tasks": len(samples),
        "scored": kinds["scored"],
        "skipped": kinds["skipped"],
        "infrastructure_failures": kinds["infrastructure_failures"],
        "retried": retried,
    }


def _timing(samples: list[Sample], summary: Summary) -> dict[str, float]:
    seconds = sum(sample.elapsed_s for sample in samples)
    tokens = summary.counts.get("scored_tokens", 0) + summary.counts.get("generated_tokens", 0)
    rate = tokens / seconds if seconds > 0 else 0.0
    spent = {
        name: round(sum(s.result.get(name, 0.0) for s in samples if s.result is not None), 3)
        for name in ("generate_s", "grade_s")
    }
    whole = {"wall_s": round(seconds, 3), "tokens": tokens, "tokens_per_s": round(rate, 1)}
    return {**whole, **spent}


def machine_facts() -> dict[str, str]:
    """Return what the figures were measured on; names an accelerator only if torch is in use."""
    import psutil

    facts = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": str(usable_cores()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        facts["torch"] = metadata.version("torch")
        if torch.cuda.is_available():
            facts["accelerator"] = torch.cuda.get_device_name(0)
    return facts


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
