"""The tracer's benchmark, on programs so small that its times mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parent.parent / "tools" / "bench" / "tracer.py"
PROGRAMS = {"dp", "words", "queens"}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), "--tiny", "--repeats", "1", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_every_installed_recorder_is_measured_and_loses_no_event(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run("--json", str(report))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    told = json.loads(report.read_text())
    assert set(told["results"]) == PROGRAMS
    measured = {"untraced", "counted", "empty", "twin", "native", "plain"}
    measured |= {"pysnooper", "hunter", "snoop"}
    for by_recorder in told["results"].values():
        assert set(by_recorder) == measured - set(told["absent"])
        true = by_recorder["counted"]["seen"]
        assert true > 100
        assert {by_recorder[name]["seen"] for name in ("twin", "plain")} == {true}
        assert all(each["seconds"] > 0 for each in by_recorder.values())
    assert "| twin / plain |" in done.stdout
    assert all(f"not installed: {', '.join(told['absent'])}" in done.stdout for _ in told["absent"])


def test_some_recorders_can_be_chosen() -> None:
    done = run("--only", "plain")
    assert done.returncode == 0, done.stderr
    assert "PySnooper" not in done.stdout and "| empty callback |" in done.stdout
