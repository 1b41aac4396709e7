"""`cwm rl train` as users run it: engine, orchestrator and trainer as processes, a real model."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rl_runs import Run, check_accounting, install_parity, write_tiny_model

from cwm_core.engine.base import SamplingParams
from cwm_core.rundir import read_metrics, read_status
from cwm_train.checkpoint.store import newest_checkpoint
from cwm_train.generate.config import Local

GROUPS, SIZE = 2, 4
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("installed")
    install_parity(directory / "site")
    write_tiny_model(directory / "model")
    return directory


def run_of(installed: Path, tmp_path: Path, *words: str) -> Run:
    settings = [
        f"init_from={installed / 'model'}",
        "environments.parity=parity",
        "tasks.parity.max_tokens=4",
        f"group_size={SIZE}",
        f"batch.groups={GROUPS}",
        "optimizer.lr=1e-3",
        "threads=1",
        *words,
    ]
    return Run(tmp_path / "run", settings, installed / "site", tmp_path / "said.txt")


class Headings(HTMLParser):
    """Collects the headings of a page, and counts its pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.pictures = 0
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._tag = tag
        self.pictures += tag == "svg"

    def handle_data(self, data: str) -> None:
        if self._tag in ("h1", "h2") and data.strip():
            self.found.append(data.strip())


def check_page(page: Path, scratch: Path) -> None:
    """Self-contained, with curves and a timeline; opened in a browser where there is one."""
    text = page.read_text()
    read = Headings()
    read.feed(text)
    assert read.pictures >= 3
    assert {"Last step", "Episodes"} <= set(read.found)
    assert 'src="http' not in text and 'href="http' not in text
    if CHROMIUM is None:
        return
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={scratch / 'browser'}", "--dump-dom",
    ]  # fmt: skip
    shown = subprocess.run(
        [CHROMIUM, *flags, page.as_uri()], capture_output=True, text=True, timeout=180
    )
    assert "Last step" in shown.stdout


def check_generates(model: Path) -> None:
    async def generate() -> int:
        engine = Local(name="local", checkpoint=model, threads=1).build()
        try:
            made = await engine.generate([50, 51], SamplingParams(3, 1.0, seed=0))
        finally:
            await engine.close()
        return len(made.token_ids)

    assert 1 <= asyncio.run(generate()) <= 3


@pytest.mark.timeout(1800)
def test_a_run_survives_kills_of_one_and_of_all_processes(installed: Path, tmp_path: Path) -> None:
    steps = 9
    run = run_of(
        installed, tmp_path, "max_staleness=2", f"max_steps={steps}", "checkpoint_every_steps=2"
    )
    run.start()
    run.wait_until(lambda progress: progress.step >= 2)
    assert run.kill("orchestrator")
    run.wait_until(lambda progress: progress.step >= 5)
    run.kill_all()
    run.start()
    assert run.finish() == 0, run.said()

    check_accounting(run.files, steps=steps, groups=GROUPS, size=SIZE)
    assert "orchestrator died (signal 9) and is started again" in run.said()
    status = read_status(run.files.root)
    assert (status["state"], status["starts"]) == ("done", 2)
    metrics = read_metrics(run.files.root / "metrics.jsonl")
    assert [line["step"] for line in metrics] == list(range(1, steps + 1))
    assert {line["groups"] for line in metrics} == {GROUPS}
    assert max(line["staleness_max"] for line in metrics) <= 2
    assert max(line["engine_difference"] for line in metrics if line["staleness_max"] == 0) <= 1e-5
    check_page(run.files.root / "report.html", tmp_path)
    check_generates(run.files.root / "model")
    check_generates(newest_checkpoint(run.files.root))


@pytest.mark.timeout(1800)
def test_a_synchronous_run_ends_well_when_nothing_is_left_to_learn(
    installed: Path, tmp_path: Path
) -> None:
    words = ("environments.parity.hard=20", "watchdog.fruitless_groups=6", "max_steps=50")
    run = run_of(installed, tmp_path, "max_staleness=0", *words)
    run.start()
    assert run.finish() == 0, run.said()

    metrics = read_metrics(run.files.root / "metrics.jsonl")
    steps = len(metrics)
    assert 1 <= steps < 50
    assert [line["step"] for line in metrics] == list(range(1, steps + 1))
    check_accounting(run.files, steps=steps, groups=GROUPS, size=SIZE)
    for line in metrics:
        assert (line["staleness_max"], line["mixed_versions"]) == (0, 0)
        assert line["engine_difference"] <= 1e-5  # the engine had the trainer's weights
    reason = rf"all \d groups played for step {steps + 1} were solved by every member"
    assert re.search(f"the run is over: {reason}", run.said())
    assert re.search(reason, (run.files.root / "report.html").read_text())
    assert read_status(run.files.root)["state"] == "done"
    assert (run.files.root / "model" / "config.json").is_file()
