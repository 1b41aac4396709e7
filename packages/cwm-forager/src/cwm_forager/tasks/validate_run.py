"""`cwm forage validate`: many instances, resumable."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from cwm_core.appended import AppendedEntries
from cwm_core.atomic import atomic_write
from cwm_core.env.concurrency import Failure, gather_bounded, run_sync
from cwm_core.progress import progress
from cwm_core.rundir import RunDir
from cwm_forager.tasks.config import ValidateConfig
from cwm_forager.tasks.instance import Instance, read_instances, write_instances
from cwm_forager.tasks.validate import Validation, validate


class _Report(AppendedEntries):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.entries: dict[str, dict[str, Any]] = {}

    def _take(self, entry: dict[str, Any]) -> None:
        self.entries[entry["id"]] = entry


def validate_all(config: ValidateConfig, run: RunDir) -> dict[str, Any]:
    """Prove every instance; writes ``report.jsonl``, ``report.json`` and ``tasks.jsonl``.

    ``tasks.jsonl`` holds the sound instances, with what was learnt. Continues after interruption.
    """
    instances = list(read_instances(config.tasks))
    with (
        _Report(run.path / "report.jsonl") as report,
        progress(len(instances), "validate", "tasks") as bar,
    ):
        open_ones = [each for each in instances if each.id not in report.entries]

        def done(_: int, result: Validation | Failure[Instance]) -> None:
            if isinstance(result, Failure):
                raise result.error
            report.append({**result.as_json(), "instance": _kept(result)})
            report.flush()
            valid = sum(entry["valid"] for entry in report.entries.values())
            bar.set(len(report.entries), valid=valid)

        async def one(instance: Instance) -> Validation:
            return await validate(
                config.sandbox,
                instance,
                search_copies=config.search_copies,
                keep_reliable=config.keep_reliable,
            )

        run_sync(gather_bounded(one, open_ones, limit=config.concurrency, on_done=done))
        entries = [report.entries[each.id] for each in instances]
    sound = [Instance.model_validate(each["instance"]) for each in entries if each["valid"]]
    write_instances(run.path / "tasks.jsonl", sound)
    summary = _summary(entries)
    atomic_write(run.path / "report.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _kept(result: Validation) -> dict[str, Any] | None:
    if not result.valid:
        return None
    return result.instance.model_dump(mode="json", exclude_defaults=True)


def _summary(entries: list[dict[str, Any]]) -> dict[str, Any]:
    reasons = Counter(entry["reason"].partition(":")[0] for entry in entries if entry["reason"])
    return {
        "tasks": len(entries),
        "valid": sum(entry["valid"] for entry in entries),
        "reasons": dict(reasons.most_common()),
    }
