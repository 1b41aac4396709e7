"""The committed figures of a small model are what this code makes."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"
SHARE_POINTS, LOSS_NATS = 5.0, 0.15
CELL = re.compile(r"\*\*([\d.]+) (%|nats)\*\* \(.*\), ([\d,]+)")
Table = dict[str, dict[str, tuple[float, str, str]]]


def table(page: str) -> Table:
    """Return value, unit and number of units by engine and metric."""
    head, _, *rows = [
        line.strip("| ").split(" | ") for line in page.splitlines() if line[:1] == "|"
    ]
    found: Table = {engine: {} for engine in head[1:]}
    for metric, *cells in rows:
        for engine, cell in zip(found, cells, strict=True):
            match = CELL.fullmatch(cell)
            assert match, cell
            found[engine][metric] = float(match[1]), match[2], match[3]
    return found


def test_perfect_and_empty_answers_frame_the_model() -> None:
    found = table(PAGE.read_text(encoding="utf-8"))
    assert list(found) == ["gold", "model", "empty"]
    for metric, (value, unit, _) in found["gold"].items():
        assert value == (100.0 if unit == "%" else 0.0), metric
    assert {value for value, unit, _ in found["empty"].values() if unit == "%"} == {0.0}
    assert 50 < found["model"]["Token"][0] < 100


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_figures_are_made_again(tmp_path: Path) -> None:
    committed = PAGE.read_text(encoding="utf-8")
    version = re.search(r"Python (\d+\.\d+)", committed)
    here = ".".join(platform.python_version_tuple()[:2])
    if version is None or version[1] != here:
        pytest.skip(f"traces differ between Pythons: figures of {version and version[1]}, {here}")
    out = tmp_path / "results.md"
    command = [sys.executable, str(ROOT / "tools" / "results.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr[-2000:]
    wanted, found = table(committed), table(out.read_text(encoding="utf-8"))
    assert (found["gold"], found["empty"]) == (wanted["gold"], wanted["empty"])
    assert found["model"].keys() == wanted["model"].keys()
    for metric, (value, unit, count) in wanted["model"].items():
        assert found["model"][metric][1:] == (unit, count), metric
        allowed = SHARE_POINTS if unit == "%" else LOSS_NATS
        assert found["model"][metric][0] == pytest.approx(value, abs=allowed), metric
