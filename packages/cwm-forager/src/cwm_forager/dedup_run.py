"""Near-duplicate removal from shards to shards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.data.records import TRAJECTORY_SCHEMA
from cwm_core.data.shards import ShardWriter, count_rows, read_shards
from cwm_core.errors import DataError
from cwm_core.progress import progress
from cwm_core.rundir import RunDir
from cwm_forager.config import DedupConfig
from cwm_forager.dedup import NearDuplicates, actions_text


@dataclass(slots=True)
class Report:
    """Counts by group, and what was dropped in favour of what."""

    read: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    dropped: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the content of report.json."""
        groups = {
            name: {"read": count, "kept": self.kept[name], "dropped": count - self.kept[name]}
            for name, count in sorted(self.read.items())
        }
        read, kept = self.read.total(), self.kept.total()
        return {"read": read, "kept": kept, "dropped": read - kept, "groups": groups}


def deduplicate(config: DedupConfig, run: RunDir) -> Report:
    """Copy the trajectories that resemble no earlier one; continues after an interruption.

    Decisions depend on the order of the input alone, so a second start makes the same ones and
    writes what is missing. Writes ``trajectories/``, ``report.json`` and ``dropped.jsonl``.
    """
    report = Report()
    total = count_rows(config.data)
    with (
        ShardWriter(run.path / "trajectories", TRAJECTORY_SCHEMA) as writer,
        progress(total, "dedup", "trajectories") as bar,
    ):
        written = writer.done_keys("trajectory_id")
        for row in _kept_rows(config, report):
            if row["trajectory_id"] not in written:
                writer.write(row)
            bar.set(report.read.total(), kept=report.kept.total())
        bar.set(total, kept=report.kept.total())
        writer.finish()
    lines = "".join(json.dumps(entry) + "\n" for entry in report.dropped)
    atomic_write(run.path / "dropped.jsonl", lines)
    atomic_write(run.path / "report.json", json.dumps(report.as_json(), indent=2) + "\n")
    return report


def _kept_rows(config: DedupConfig, report: Report) -> Iterator[dict[str, Any]]:
    known = NearDuplicates(config.threshold)
    seen: set[str] = set()
    for row in read_shards(config.data):
        if set(row) != set(TRAJECTORY_SCHEMA.names):
            raise DataError(f"{config.data} holds no trajectories", "give trajectory shards")
        name = row["trajectory_id"]
        if name in seen:
            raise DataError(
                f"{config.data} holds two trajectories with id {name!r}",
                "ids must be unique; collect them into directories of their own",
            )
        seen.add(name)
        group = group_of(json.loads(row["metadata"]), config.group_by)
        match = known.add(group, name, actions_text(row["turns"]))
        report.read[group] += 1
        if match is None:
            report.kept[group] += 1
            yield row
        else:
            report.dropped.append(
                {"trajectory_id": name, "kept": match.trajectory_id, "jaccard": match.similarity}
            )


def group_of(metadata: Mapping[str, Any], key: str) -> str:
    """Return a trajectory's group: `key` of its metadata, or of its task's metadata or data."""
    task = metadata.get("task") or {}
    for place in (metadata, task.get("metadata") or {}, task.get("data") or {}):
        if key in place:
            return str(place[key])
    return ""
