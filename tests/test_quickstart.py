"""`cwm quickstart` from nothing to a report, stopped once on its way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MINUTES = "2"
CHROMIUM = shutil.which("chromium")


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    log = (directory / "log.txt").open("a")
    command = [sys.executable, "-m", "cwm_core", "quickstart", "--minutes", MINUTES, *arguments]
    return subprocess.Popen(
        command, cwd=directory, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )


def interrupt_in_training(process: subprocess.Popen[str], run: Path) -> None:
    """Press Ctrl-C once a training step has been logged."""
    metrics = run / "train" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None, "quickstart ended before it trained"
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    process.wait(timeout=120)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_quickstart_stops_continues_and_reports(tmp_path: Path, shared_data: Path) -> None:
    run = tmp_path / "runs" / "quickstart"
    arguments = ("--cruxeval", str(shared_data / "cruxeval.jsonl"))
    first = start(tmp_path, *arguments)
    interrupt_in_training(first, run)
    assert first.returncode == 130, (tmp_path / "log.txt").read_text()[-2000:]
    traced = (run / "traces" / "summary.json").stat().st_mtime_ns
    stopped_at = json.loads((run / "train" / "metrics.jsonl").read_text().splitlines()[0])["step"]

    assert start(tmp_path, *arguments).wait(timeout=1500) == 0, (tmp_path / "log.txt").read_text()
    assert (run / "traces" / "summary.json").stat().st_mtime_ns == traced, "traced once more"
    lines = (run / "train" / "metrics.jsonl").read_text().splitlines()
    steps = [row["step"] for row in map(json.loads, lines) if "loss" in row]
    assert steps == sorted(set(steps)) and steps[0] <= stopped_at < steps[-1]

    results = json.loads((run / "eval" / "results.json").read_text())
    frames = results["metrics"]["next_frame"]
    assert frames["count"] > 100 and frames["low"] <= frames["value"] <= frames["high"]
    assert results["metrics"]["token"]["value"] > 0.3, "a model that learned nothing"
    crux = json.loads((run / "eval-cruxeval" / "results.json").read_text())
    assert crux["out_of_distribution"] is True
    log = (tmp_path / "log.txt").read_text()
    assert "report.html" in log and "Example 1" in log
    looks_right(run / "report.html", tmp_path)


def looks_right(report: Path, tmp_path: Path) -> None:
    """Self-contained, with pictures; opened in a browser where there is one."""
    page = report.read_text()
    assert page.count("<svg") >= 3 and "http://" not in page.replace("http://www.w3.org", "")
    if CHROMIUM is None:
        return
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom",
    ]  # fmt: skip
    shown = subprocess.run(
        [CHROMIUM, *flags, report.as_uri()], capture_output=True, text=True, timeout=180
    )
    assert "Next frame" in shown.stdout and "CRUXEval" in shown.stdout
