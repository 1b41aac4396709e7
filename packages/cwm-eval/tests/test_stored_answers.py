"""Stored answers, comparisons, predictions and the pages about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cwm_core.cli.main import run
from cwm_core.errors import DataError
from cwm_eval.benchmarks.predictions import read_predictions, write_predictions
from cwm_eval.report.answers import clusters
from cwm_eval.samples import Sample
from cwm_eval.stored import read_answers

PROBLEMS = [
    {
        "problem_id": str(number),
        "solution_id": "s",
        "description": f"Problem {number} <script>alert(1)</script>",
        "solution_code": "pass",
        "time_complexity_inferred": "O(n)",
    }
    for number in range(6)
]


def graded(tmp_path: Path, name: str, right: set[int]) -> Path:
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    answers = tmp_path / f"{name}.json"
    wrong = ["no idea", "It is O(n**2)."]
    texts = {f"{n}/s": ["O(n)"] if n in right else [wrong[n % 2]] for n in range(6)}
    answers.write_text(json.dumps(texts))
    options = ["benchmark=bigobench", f"benchmark.data={data}", f"answers={answers}"]
    assert run(["eval", "grade", *options, f"label={name}", f"out={tmp_path / name}"]) == 0
    return tmp_path / name


def test_grading_comparing_and_reporting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = graded(tmp_path, "one", {0, 1}), graded(tmp_path, "two", {0, 2, 3, 4})
    results = json.loads((first / "results.json").read_text())
    assert results["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert results["engine"] == "answers of one.json"
    capsys.readouterr()
    assert run(["eval", "compare", str(first), str(second), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["better"], values["worse"], values["lost"]) == (3, 1, ["1/s"])
    assert values["p_value"] == pytest.approx(0.625)  # 2 * (1 + 4) / 16
    assert run(["eval", "compare", str(first), str(second)]) == 0
    assert "difference +33.3 points" in capsys.readouterr().out
    out = tmp_path / "both.html"
    assert run(["eval", "report", str(first), str(second), "--out", str(out)]) == 0
    page = out.read_text()
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    for part in ("How answers fail", "Differences", 'id="clusters"', "no answer", "wrong answer"):
        assert part in page
    assert page.count('class="sample"') == 12
    assert run(["eval", "report", str(first), str(second), "--out", str(tmp_path / "b.md")]) == 0
    assert "| two | 6 | +33.3 points" in (tmp_path / "b.md").read_text()


def test_published_figures_are_labelled(tmp_path: Path) -> None:
    row = {"id": 1, "problem": "?", "answer": "5"}
    (tmp_path / "aime.jsonl").write_text(json.dumps(row) + "\n")
    data = f"benchmark.data={tmp_path / 'aime.jsonl'}"
    out = tmp_path / "run"
    assert run(["eval", "benchmark=aime", data, "engine=empty", f"out={out}"]) == 0
    page = (out / "report.html").read_text()
    assert "Not measured here" in page and "AIME 2024" in page and "76.0%" in page


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(arguments) == 2
    return capsys.readouterr().err


def test_what_cannot_be_graded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graded(tmp_path, "one", set())
    options = ["eval", "grade", "benchmark=bigobench", f"benchmark.data={tmp_path / 'data.jsonl'}"]
    (tmp_path / "strange.json").write_text('{"x": ["O(n)"]}')
    strange = [*options, f"answers={tmp_path / 'strange.json'}", f"out={tmp_path / 'o1'}"]
    assert "such as 'x'" in fails(strange, capsys)
    bare = [*options, f"answers={tmp_path / 'one.json'}", "grade_as=bare", f"out={tmp_path / 'o2'}"]
    assert "knows no bare answers" in fails(bare, capsys)


def test_formats_of_answers(tmp_path: Path) -> None:
    def read(name: str, content: Any) -> dict[str, list[str]]:
        path = tmp_path / name
        lines = isinstance(content, list) and name.endswith("jsonl")
        text = "".join(json.dumps(row) + "\n" for row in content) if lines else json.dumps(content)
        path.write_text(text)
        return read_answers(path)

    samples = [{"task_id": "T/0", "completion": "a"}, {"task_id": "T/0", "completion": "b"}]
    assert read("a.jsonl", samples) == {"T/0": ["a", "b"]}
    assert read("b.json", {"s": ["a", "b"], "t": "c"}) == {"s": ["a", "b"], "t": ["c"]}
    assert read("c.json", [{"question_id": "q", "code_list": ["x"]}]) == {"q": ["x"]}
    for bad in ({}, {"a": [1]}, [{"completion": "x"}], [{"task_id": "t"}], 3):
        with pytest.raises(DataError):
            read("bad.json", bad)


def test_predictions_in_and_out(tmp_path: Path) -> None:
    def sample(name: str, number: int, patch: str) -> Sample:
        return Sample(f"{name}#{number}", {"problem": name, "sample": number}, {"answer": patch})

    samples = [sample("a", 0, "diff"), sample("a", 1, "other"), sample("b", 0, "")]
    for suffix in ("jsonl", "json"):
        out = tmp_path / f"preds.{suffix}"
        assert write_predictions(samples, "cwm", out) == 2
        assert read_predictions(out) == {"a": "diff", "b": ""}
    first = json.loads((tmp_path / "preds.jsonl").read_text().splitlines()[0])
    assert first == {"instance_id": "a", "model_name_or_path": "cwm", "model_patch": "diff"}
    with pytest.raises(DataError, match="no finished sample"):
        write_predictions(samples, "cwm", tmp_path / "x.json", 7)
    (tmp_path / "twice.jsonl").write_text(2 * '{"instance_id": "a", "model_patch": null}\n')
    with pytest.raises(DataError, match="two predictions"):
        read_predictions(tmp_path / "twice.jsonl")


def test_clusters_forget_names_and_numbers() -> None:
    def wrong(number: int) -> Sample:
        detail = f"ValueError: item {number} of 'x{number}'"
        result = {"right": False, "outcome": "exception", "detail": detail, "finish": "stop"}
        return Sample(f"t{number}", {}, result)

    (found,) = clusters([wrong(number) for number in range(9)])
    assert (found.name, found.count) == ("exception: ValueError: item N of '...'", 9)
