"""Reports on training runs, and runs compared."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cwm_core.errors import DataError
from cwm_train.commands.train import app, run_training
from cwm_train.report.page import write_page
from cwm_train.report.runs import differences, figures, read_run, read_runs


def write_run(path: Path, losses: list[float], **config: object) -> Path:
    """A run directory as `cwm train` leaves it, with 100 tokens a step."""
    path.mkdir(parents=True)
    (path / "status.json").write_text(json.dumps({"command": "train", "state": "done"}))
    (path / "config.yaml").write_text(json.dumps({"out": str(path), "optimizer": config}))
    lines = [
        {"step": n, "loss": loss, "tokens": 100 * n, "tokens_per_s": 50.0 * n, "share/code": 0.25}
        for n, loss in enumerate(losses, start=1)
    ]
    lines.append({"step": len(losses), "validation/loss": 0.5})
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_figures_compare_at_equal_tokens(tmp_path):
    short = write_run(tmp_path / "short", [4.0, 3.0], lr=0.1)
    long = write_run(tmp_path / "long", [4.0, 2.0, float("nan"), 1.0], lr=0.2, name="adamw")
    rows = figures(read_runs([short, long]))
    assert rows["training loss, last"] == ["3", "1"]
    assert rows["training loss at 200 tokens"] == ["3", "2"]
    assert rows["validation loss"] == ["0.5", "0.5"]
    assert rows["tokens/s, median"] == ["75", "125"]
    assert rows["tokens"] == ["200", "400"]
    assert rows["peak memory, GiB"] == ["–", "–"]
    assert differences(read_runs([short, long])) == {
        "optimizer.lr": ["0.1", "0.2"],
        "optimizer.name": ["–", "adamw"],
    }


def test_a_page_needs_nothing_else_and_escapes_names(tmp_path):
    runs = read_runs(
        [write_run(tmp_path / "a" / "<b>", [2.0, 1.0]), write_run(tmp_path / "c" / "<b>", [2.0])]
    )
    assert runs[0].name != runs[1].name
    write_page(runs, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page.replace("xlink:href", "href"))
    for title in ("training loss", "tokens per second", "share of each source", "validation loss"):
        assert title in page


def test_compare_and_report_on_the_command_line(tmp_path):
    runs = [str(write_run(tmp_path / name, [2.0, 1.0], lr=name)) for name in ("one", "two")]
    shown = CliRunner().invoke(app, ["compare", *runs, "--out", str(tmp_path / "both.html")])
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["one", "two"]
    assert any(line.split() == ["optimizer.lr", "one", "two"] for line in lines)
    assert "<svg" in (tmp_path / "both.html").read_text()
    assert CliRunner().invoke(app, ["report", runs[0]]).exit_code == 0
    assert "Configuration" in (tmp_path / "one" / "report.html").read_text()


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="no run directory"):
        read_run(tmp_path)
    run = write_run(tmp_path / "empty", [])
    with pytest.raises(DataError, match="no losses yet"):
        read_run(run)


def test_a_real_run_can_be_read(settings):
    config = settings(max_steps=3, eval_every=2, log_every=1)
    run_training(config)
    run = read_run(config.out)
    assert run.state == "done"
    assert run.config["optimizer.name"] == "muon"
    assert [x for x, _ in run.points("validation/loss")] == [
        entry["tokens"] for entry in run.entries if "validation/loss" in entry
    ]
    assert float(figures([run])["skipped steps"][0]) == 0
