"""Predictions of SWE-bench: JSON lines, or an object by instance, in and out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.errors import DataError
from cwm_eval.benchmarks.rows import read_json, read_rows
from cwm_eval.results import EvalRun
from cwm_eval.samples import Sample

FIELDS = ("instance_id", "model_name_or_path", "model_patch")


def read_predictions(path: Path) -> dict[str, str]:
    """Return patches by instance id.

    Reads JSON lines, a JSON list, and the ``preds.json`` of mini-swe-agent, an object by instance
    id. A missing patch (null) is an empty one. Raises `DataError`.
    """
    if path.suffix == ".json":
        content = read_json(path)
        rows = list(content.values()) if isinstance(content, dict) else content
        if not isinstance(rows, list):
            raise DataError(f"{path} holds no predictions", _HINT)
    else:
        rows = read_rows(str(path), {"instance_id": str})
    patches: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        patch = row.get("model_patch", "") if isinstance(row, dict) else None
        name = row.get("instance_id") if isinstance(row, dict) else None
        if not isinstance(name, str) or not isinstance(patch, str | None):
            raise DataError(f"{path}, prediction {number}, is malformed", _HINT)
        if name in patches:
            raise DataError(f"{path} has two predictions for {name}", "keep one per instance")
        patches[name] = patch or ""
    return patches


def patches(run: EvalRun) -> list[Sample]:
    """Return the samples of a run; raises `DataError` where their answers are no patches."""
    if run.results["benchmark"] != "swebench":
        raise DataError(
            f"{run.path} holds answers to {run.results['benchmark']}, no patches",
            "give a run of benchmark=swebench, or a choice among its patches",
        )
    return run.samples


def write_predictions(samples: Iterable[Sample], model: str, out: Path, number: int = 0) -> int:
    """Write the patches of a run for the official harness; return how many there are.

    `number` chooses among several samples per instance. ``.json`` writes an object by instance
    id, anything else JSON lines. Raises `DataError` when the samples hold no patches.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for sample in samples:
        if sample.result is None or sample.metadata.get("sample", 0) != number:
            continue
        name = str(sample.metadata.get("problem", sample.task_id))
        patch = str(sample.result.get("answer", ""))
        found[name] = dict(zip(FIELDS, (name, model, patch)))
    if not found:
        raise DataError(f"there is no finished sample number {number}", "finish the run first")
    if out.suffix == ".json":
        text = json.dumps(found, indent=2) + "\n"
    else:
        text = "".join(json.dumps(row) + "\n" for row in found.values())
    atomic_write(out, text)
    return len(found)


_HINT = "a prediction has the fields instance_id, model_name_or_path, model_patch"
