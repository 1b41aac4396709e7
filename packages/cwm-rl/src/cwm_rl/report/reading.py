"""What a run directory says about a run, for its page."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from cwm_core.data.records import trajectory_from_row
from cwm_core.data.shards import read_shards
from cwm_core.env.trajectory import Trajectory
from cwm_core.errors import DataError
from cwm_core.rundir import read_metrics, read_status
from cwm_rl.board.files import Offer, RunFiles
from cwm_rl.rollout.group import RETURN
from cwm_rl.rollout.ledger import Ledger

TIMELINE = ".timeline.jsonl"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time of one process; seconds since the run's first."""

    start_s: float
    seconds: float
    what: str
    waits_for: str


@dataclass(frozen=True, slots=True)
class RlRun:
    """Everything that a page shows."""

    path: Path
    status: dict[str, Any]
    ended: str
    """Why it ended before its budget was used; empty if it did not."""
    metrics: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    timelines: dict[str, list[Stretch]]
    accounting: dict[str, int]
    problems: list[str]
    samples: list[Trajectory]

    def ages(self) -> Counter[int]:
        """Return how many trained steps had which staleness at most."""
        return Counter(int(line["staleness_max"]) for line in self.metrics)


def read_run(path: Path, samples: int = 12) -> RlRun:
    """Read a run directory, of a run that goes on too; DataError when it is none."""
    files = RunFiles(path)
    if not files.ledger.exists():
        raise DataError(f"{path} is no run of `cwm rl train`", "give its out=")
    ledger, status = _read_ledger(files), read_status(path)
    return RlRun(
        path,
        status,
        Offer.read(files.offer).end or status.get("error") or "",
        read_metrics(path / "metrics.jsonl"),
        read_metrics(files.rollout_metrics),
        read_timelines(files.processes),
        {
            "admitted": ledger.next_id,
            "in play": len(ledger.open),
            "ready": len(ledger.ready),
            **{status.value: count for status, count in sorted(ledger.final.items())},
        },
        ledger.problems(),
        _samples(files, samples),
    )


def read_timelines(processes: Path) -> dict[str, list[Stretch]]:
    """Return what every process did, on one clock."""
    raw: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(processes.glob(f"*{TIMELINE}")):
        name = path.name.removesuffix(TIMELINE)
        raw[name] = [json.loads(line) for line in path.read_text().splitlines() if line[-1:] == "}"]
    first = min((line["t"] for lines in raw.values() for line in lines), default=0.0)
    return {
        name: [
            Stretch(line["t"] - first, line["s"], line["what"], line.get("waits_for", ""))
            for line in lines
        ]
        for name, lines in raw.items()
    }


def utilisation(stretches: list[Stretch]) -> dict[str, float]:
    """Return the share of the time that a process did each thing, largest first."""
    total = sum(each.seconds for each in stretches) or 1.0
    shares: Counter[str] = Counter()
    for each in stretches:
        label = f"{each.what} ({each.waits_for})" if each.waits_for else each.what
        shares[label] += each.seconds / total  # type: ignore[assignment]
    return dict(shares.most_common())


def _read_ledger(files: RunFiles) -> Ledger:
    """Read without opening: another process may be writing."""
    ledger = Ledger(files.ledger)
    for line in files.ledger.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            ledger._take(json.loads(line))
    return ledger


def _samples(files: RunFiles, count: int) -> list[Trajectory]:
    """Return episodes spread over the run: of the newest shards the best and the worst."""
    paths = sorted(files.trajectories.glob("part-*.parquet"))
    chosen = [paths[0], paths[-1]] if len(paths) > 1 else paths
    found: list[Trajectory] = []
    for path in chosen:
        rows: Iterator[dict[str, Any]] = islice(read_shards(path), 512)
        played = [trajectory_from_row(row) for row in rows]
        played.sort(key=lambda each: -each.rewards.get(RETURN, float("-inf")))
        half = max(1, count // len(chosen) // 2)
        found += [*played[:half], *played[-half:]]
    return found
