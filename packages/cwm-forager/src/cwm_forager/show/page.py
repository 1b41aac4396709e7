"""Trajectories as one HTML file that needs nothing else."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_forager.collect.dialog import dialog_of
from cwm_forager.show.select import Named, exit_of, tests_of


def write_page(path: Path, chosen: list[Named]) -> int:
    """Write the page and return the number of trajectories."""
    entries = [entry(key, trajectory) for key, trajectory in chosen]
    data = json.dumps(entries, ensure_ascii=False).replace("<", "\\u003c")
    folder = resources.files("cwm_forager.show")
    page = (folder / "page.html").read_text(encoding="utf-8")
    for name, text in (
        ("STYLE", (folder / "page.css").read_text(encoding="utf-8")),
        ("SCRIPT", (folder / "page.js").read_text(encoding="utf-8")),
        ("DATA", data),
    ):
        page = page.replace(f"/*{name}*/", text, 1)
    atomic_write(path, page.encode("utf-8", "backslashreplace"))
    return len(entries)


def entry(key: str, trajectory: Any) -> dict[str, Any]:
    """Return what the page shows of a trajectory."""
    outcome, verdict = trajectory.outcome, trajectory.outcome.get("verdict") or {}
    messages = dialog_of(trajectory).messages
    return {
        "key": key,
        "task": trajectory.task_id,
        "agent": str(trajectory.metadata.get("agent", "")),
        "repository": str(trajectory.metadata.get("repository", "")),
        "exit": exit_of(trajectory),
        "resolved": bool(outcome.get("resolved")),
        "reward": trajectory.rewards.get("environment"),
        "reason": str(verdict.get("reason") or outcome.get("reason") or outcome.get("error") or ""),
        "result": verdict.get("result", ""),
        "dropped": list(verdict.get("dropped") or ()),
        "duration": trajectory.metadata.get("duration_s"),
        "turns": [
            {
                "role": turn.role,
                "tool": message.tool or (message.calls[0].name if message.calls else ""),
                "text": turn.text,
                "tokens": None if turn.token_ids is None else len(turn.token_ids),
            }
            for turn, message in zip(trajectory.turns, messages, strict=True)
        ],
        "patch": outcome.get("patch") or "",
        "tests": tests_of(trajectory),
        "output": verdict.get("output", ""),
    }
