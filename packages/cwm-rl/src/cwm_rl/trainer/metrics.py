"""What is measured of a step."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cwm_core.appended import AppendedLines
from cwm_rl.rollout.group import Group
from cwm_rl.trainer.choose import age


class MetricsFile(AppendedLines):
    """Lines of metrics, which the supervisor reads and passes on."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:  # type: ignore[override]
        """Append the metrics of a step."""
        line = {key: float(value) for key, value in metrics.items()}
        super().write({"step": step, "time": round(time.time(), 3), **line})
        self.flush()


def group_metrics(groups: Sequence[Group], step: int) -> dict[str, float]:
    """Return statistics of the groups of a step, by environment and in all."""
    members = [member for group in groups for member in group.members]
    trained = [member for member in members if member.trained]
    ages = [age(member, step) for member in trained]
    mixed = [m for m in trained if m.oldest_version != m.newest_version]
    found = {
        "return": _mean([value for group in groups for value in group.returns]),
        "solved": _mean([group.solved for group in groups]),
        "action_tokens": _mean([m.trajectory.action_tokens for m in members]),
        "turns": _mean([len(m.trajectory.actions) for m in members]),
        "staleness": _mean(ages),
        "staleness_max": float(max(ages, default=0)),
        "mixed_versions": len(mixed) / max(1, len(trained)),
        "untrained": 1 - len(trained) / max(1, len(members)),
    }
    for task in sorted({group.task for group in groups}):
        own = [group for group in groups if group.task == task]
        found[f"{task}/return"] = _mean([value for group in own for value in group.returns])
        found[f"{task}/solved"] = _mean([group.solved for group in own])
    return found


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else 0.0


def read_new_lines(path: Path, offset: int) -> tuple[list[dict[str, float]], int]:
    """Return the whole lines of a metrics file from an offset on, and where they end."""
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        if file.seek(0, 2) < offset:  # it was cut after a kill
            offset = 0
        file.seek(offset)
        data = file.read()
    end = data.rfind(b"\n") + 1
    return [json.loads(line) for line in data[:end].splitlines()], offset + end


def end_of_step(path: Path, step: int) -> int:
    """Return where the last line about a step ends; 0 if there is none."""
    if not path.exists():
        return 0
    end = offset = 0
    for line in path.read_bytes().splitlines(keepends=True):
        offset += len(line)
        if line.endswith(b"\n") and json.loads(line)["step"] == step:
            end = offset
    return end
