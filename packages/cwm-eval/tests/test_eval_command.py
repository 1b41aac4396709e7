from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cwm_core.cli.main import run
from cwm_core.data.records import Outcome, TraceRecord
from cwm_core.text.tokenizer import Tokenizer
from cwm_core.trace.codec import render_ids

pytestmark = pytest.mark.usefixtures("environments")


@pytest.fixture
def gold(shards: Path, tokenizer_dir: Path, tmp_path: Path) -> list[str]:
    return [
        "eval",
        f"benchmark.data={shards}",
        "engine=gold",
        f"engine.data={shards}",
        f"engine.tokenizer={tokenizer_dir}",
        f"out={tmp_path / 'run'}",
    ]


def results(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "results.json").read_text())
    return found


def test_gold_run_writes_everything(gold: list[str], tmp_path: Path, capsys: Any) -> None:
    assert run(gold) == 0
    out = tmp_path / "run"
    found = results(out)
    shares = {n: m["value"] for n, m in found["metrics"].items() if m["unit"] == "share"}
    assert set(shares.values()) == {1.0} and len(shares) == 11
    assert found["counts"]["tasks"] == found["counts"]["scored"] == 12
    assert found["label"] == "traces (test)"
    assert found["timing"]["tokens"] == 2 * found["metrics"]["token"]["count"]
    metric = found["metrics"]["trace_exact"]
    assert metric["count"] == 12 and metric["clusters"] == 4 and metric["low"] < metric["high"]
    assert len((out / "samples.jsonl").read_text().splitlines()) == 12
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert "| Next frame | **100.0%**" in (out / "report.md").read_text()
    assert "Example 1: right" in (out / "examples.txt").read_text()
    assert json.loads((out / "status.json").read_text())["state"] == "done"
    assert "Next frame" in capsys.readouterr().err


def test_a_finished_run_is_not_redone(gold: list[str], tmp_path: Path) -> None:
    assert run(gold) == 0
    before = (tmp_path / "run" / "samples.jsonl").stat()
    assert run(gold) == 0
    assert (tmp_path / "run" / "samples.jsonl").stat().st_mtime_ns == before.st_mtime_ns


def test_limit_and_report_of_two_runs(gold: list[str], tmp_path: Path, capsys: Any) -> None:
    assert run([*gold, "limit=4", "label=Held out"]) == 0
    empty = [a for a in gold if not a.startswith(("engine", "out"))]
    tokenizer = next(a for a in gold if a.startswith("engine.tokenizer"))
    outside = ["engine=empty", tokenizer, "label=Elsewhere", "out_of_distribution=true"]
    assert run([*empty, *outside, f"out={tmp_path / 'empty'}"]) == 0
    assert results(tmp_path / "empty")["metrics"]["next_frame"]["value"] == 0.0
    out = tmp_path / "all.html"
    directories = [str(tmp_path / "run"), str(tmp_path / "empty")]
    assert run(["eval", "report", *directories, "--out", str(out)]) == 0
    page = out.read_text()
    assert "Held out" in page and "Elsewhere" in page and "out of distribution" in page
    assert run(["eval", "report", *directories, "--out", str(tmp_path / "all.json")]) == 0
    content = json.loads((tmp_path / "all.json").read_text())
    assert [r["counts"]["tasks"] for r in content["runs"]] == [4, 12]
    assert run(["eval", "report", *directories, "--out", str(tmp_path / "all.md")]) == 0
    assert "Elsewhere (out of distribution)" in (tmp_path / "all.md").read_text()


def fails(arguments: list[str], capsys: Any) -> str:
    assert run(arguments) == 2
    error: str = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_missing_data(gold: list[str], tmp_path: Path, capsys: Any) -> None:
    text = fails([*gold, f"benchmark.data={tmp_path / 'nowhere'}"], capsys)
    assert "nowhere does not exist" in text


def test_no_such_split(gold: list[str], capsys: Any) -> None:
    text = fails([*gold, "benchmark.split=validation"], capsys)
    assert "no traces of split 'validation'" in text and "it has: test (12)" in text


def test_empty_shards(gold: list[str], make_shards: Any, capsys: Any) -> None:
    text = fails([*gold, f"benchmark.data={make_shards('none', [])}"], capsys)
    assert "no Parquet shards" in text or "hold no traces" in text


def test_only_incomplete_traces(
    gold: list[str], make_shards: Any, records: list[TraceRecord], capsys: Any
) -> None:
    cut = [replace(r, outcome=Outcome.STEP_LIMIT) for r in records]
    text = fails([*gold, f"benchmark.data={make_shards('cut', cut)}"], capsys)
    assert "none of the 12 traces of split 'test'" in text


def test_wrong_columns(gold: list[str], tmp_path: Path, capsys: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    other = tmp_path / "other"
    other.mkdir()
    pq.write_table(pa.table({"text": ["a"]}), other / "part-00000.parquet")
    assert "has no column 'trace_id'" in fails([*gold, f"benchmark.data={other}"], capsys)


def test_misspelt_key(gold: list[str], capsys: Any) -> None:
    assert "did you mean 'benchmark.split'" in fails([*gold, "benchmark.splitt=test"], capsys)


def test_report_on_no_run(tmp_path: Path, capsys: Any) -> None:
    arguments = ["eval", "report", str(tmp_path), "--out", str(tmp_path / "r.html")]
    assert "holds no results.json" in fails(arguments, capsys)
    (tmp_path / "results.json").write_text("{}")
    assert "is no result of `cwm eval`" in fails(arguments, capsys)


def test_report_in_an_unknown_format(gold: list[str], tmp_path: Path, capsys: Any) -> None:
    assert run(gold) == 0
    arguments = ["eval", "report", str(tmp_path / "run"), "--out", str(tmp_path / "r.pdf")]
    assert "use one of .html, .md, .json" in fails(arguments, capsys)


def test_engine_failures_are_reported_and_tried_again(
    gold: list[str],
    records: list[TraceRecord],
    tokenizer: Tokenizer,
    tokenizer_dir: Path,
    tmp_path: Path,
    capsys: Any,
) -> None:
    """The scripted engine has no answer for the last three prompts: it fails half-way."""
    script = tmp_path / "script.jsonl"

    def write(known: list[TraceRecord]) -> None:
        encoded = [render_ids(r.trace, tokenizer) for r in known]
        entries = (
            {"prompt_ids": e.ids[: e.prompt_length], "token_ids": e.ids[e.prompt_length :]}
            for e in encoded
        )
        script.write_text("".join(json.dumps(entry) + "\n" for entry in entries))

    arguments = [a for a in gold if not a.startswith("engine")]
    arguments += ["engine=scripted", f"engine.path={script}", "retries=0"]
    arguments += [f"benchmark.tokenizer={tokenizer_dir}"]
    write(records[:9])
    text = fails(arguments, capsys)
    assert "3 of 12 tasks could not be evaluated" in text and "tries them again" in text
    assert "most often EngineError: the script has no completion for a prompt of" in text
    found = results(tmp_path / "run")
    assert found["counts"]["infrastructure_failures"] == 3
    assert found["metrics"]["trace_exact"] | {"low": 0, "high": 0} == {
        **found["metrics"]["trace_exact"], "value": 1.0, "count": 9, "low": 0, "high": 0,
    }  # fmt: skip
    write(records)
    assert run(arguments) == 0
    assert results(tmp_path / "run")["counts"]["infrastructure_failures"] == 0
    assert results(tmp_path / "run")["metrics"]["trace_exact"]["count"] == 12


def test_help_of_the_group_and_light_modules(capsys: Any) -> None:
    code = (
        "import sys; from cwm_core.cli.main import run; code = run(['eval', '--help']);"
        "heavy = {'torch', 'numpy', 'scipy', 'hydra', 'pyarrow', 'jinja2'} & set(sys.modules);"
        "print(sorted(heavy)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "report" in done.stdout and "run" in done.stdout


def test_a_misspelt_component_is_explained(gold: list[str], capsys: Any) -> None:
    arguments = [a for a in gold if not a.startswith("engine")]
    assert "gold" in fails([*arguments, "engine=glod"], capsys)


Maker = Callable[[str, list[TraceRecord]], Path]


def test_traces_of_a_run_directory(
    gold: list[str], make_shards: Maker, records: list[TraceRecord], tmp_path: Path
) -> None:
    make_shards("traced/traces", records[:3])
    replaced = [a for a in gold if not a.startswith("benchmark.data")]
    assert run([*replaced, f"benchmark.data={tmp_path / 'traced'}"]) == 0
    assert results(tmp_path / "run")["counts"]["tasks"] == 3
