"""Every question benchmark on small files with the published fields: gold 100 %, empty 0 %."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cwm_core.cli.main import run


def packed(value: Any) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(value)))).decode()


CRUX = [
    {"code": "def f(s, n=2):\n    return s * n", "input": "'ab'", "output": "'abab'", "id": "a"},
    {"code": "def f(*v):\n    return set(v)", "input": "1, 2.5", "output": "{1, 2.5}", "id": "b"},
]
HUMAN = {
    "task_id": "T/0",
    "prompt": 'import math\n\ndef up(x):\n    """Round up."""\n',
    "entry_point": "up",
    "canonical_solution": "    return math.ceil(x)\n",
    "test": "def check(candidate):\n    assert candidate(1.5) == 2\n    assert up(0.1) == 1\n",
}
PLUS = {
    **{k: v for k, v in HUMAN.items() if k != "test"},
    "task_id": "T/1",
    "contract": "",
    "base_input": [[1.5]],
    "plus_input": [[-1.5], [7]],
    "atol": 0,
}
MBPP = {
    "text": "Write a function to double.",
    "code": "def double(x):\r\n    return 2 * x\r\n",
    "task_id": 11,
    "test_setup_code": "",
    "test_list": ["assert double(2) == 4", "assert math.isclose(double(.5), 1)"],
    "challenge_test_list": [],
}
LCB = {
    "question_title": "Sum",
    "question_content": "Add two numbers.",
    "platform": "atcoder",
    "question_id": "q1",
    "contest_id": "c",
    "contest_date": "2024-10-05T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]),
    "private_test_cases": packed([{"input": "2 3\n", "output": "5.0", "testtype": "stdin"}]),
    "metadata": "{}",
}
LCB_CALL = {
    **LCB,
    "question_id": "q2",
    "platform": "leetcode",
    "starter_code": "class Solution:\n    def pair(self, a: int, b: List[int]) -> List[int]:\n",
    "public_test_cases": json.dumps(
        [{"input": "1\n[2]", "output": "[1, 2]", "testtype": "functional"}]
    ),
    "private_test_cases": packed([]),
    "metadata": json.dumps({"func_name": "pair"}),
}
SOLUTIONS = [
    {"question_id": "q1", "code_list": ["print(sum(map(int, input().split())))"]},
    {
        "question_id": "q2",
        "code_list": [
            "class Solution:\n    def pair(self, a, b: List[int]):\n        return (a, *b)"
        ],
    },
]
EXECUTION = {
    "question_id": "q",
    "contest_id": "c",
    "contest_date": "2024-10-05",
    "difficulty": "easy",
    "function_name": "g",
    "code": "def g(a: List[int]):\n    return max(a)",
    "input": "g(a = [1, 5])",
    "output": "5",
    "id": "s1",
    "problem_id": "p",
    "numsteps": 3,
}
HALT = [
    {"id": "h1", "terminates": True, "enc_code": packed("x = 1")},
    {"id": "h2", "terminates": False, "enc_code": packed("while True:\n    pass")},
]
MATH = {
    "problem": "What is half?",
    "solution": "It is.",
    "answer": "\\frac{1}{2}",
    "subject": "Algebra",
    "level": 1,
    "unique_id": "m/1.json",
}
AIME = {"id": 60, "problem": "Seven?", "solution": "", "answer": "007", "url": "2024_AIME_I/1"}
BIGO = {
    "problem_id": "1",
    "solution_id": "2",
    "description": "Print twice.",
    "solution_code": "print(2 * input())",
    "time_complexity_inferred": "O(n**2+m)",
    "space_complexity_inferred": "O(1)",
}
Case = tuple[str, str, list[dict[str, Any]], tuple[str, ...]]
CASES: list[Case] = [
    ("cruxeval_output", "d.jsonl", CRUX, ()),
    ("cruxeval_output", "d.jsonl", CRUX, ("benchmark.reasoning=true",)),
    ("cruxeval_output", "d.jsonl", CRUX, ("benchmark.mode=trace",)),
    ("cruxeval_output", "d.jsonl", CRUX, ("benchmark.mode=step",)),
    ("cruxeval_input", "d.jsonl", CRUX, ()),
    ("halteval", "d.jsonl", HALT, ()),
    ("humaneval", "d.jsonl.gz", [HUMAN, PLUS], ("benchmark.samples=2", "benchmark.ks=[1,2]")),
    ("mbpp", "d.json", [MBPP], ()),
    ("livecodebench", "d.jsonl", [LCB, LCB_CALL], ("benchmark.solutions=solutions.json",)),
    ("livecodebench_execution", "d.parquet", [EXECUTION], ("benchmark.start=2024-10-01",)),
    ("math500", "d.jsonl", [MATH], ("benchmark.workers=1",)),
    ("aime", "d.jsonl", [AIME], ("benchmark.workers=1", "benchmark.year=2024")),
    ("bigobench", "d.jsonl", [BIGO], ()),
    ("bigobench", "d.jsonl", [BIGO], ("benchmark.predict=space", "benchmark.form=plain")),
]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(json.dumps(rows) if path.suffix == ".json" else lines)


Maker = Callable[[str, list[dict[str, Any]]], list[str]]


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], list[str]]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "solutions.json").write_text(json.dumps(SOLUTIONS))

    def arguments(case: Case) -> list[str]:
        name, file, rows, more = case
        write(tmp_path / file, rows)
        return ["eval", f"benchmark={name}", f"benchmark.data={file}", *more]

    return arguments


def results(path: Path) -> Any:
    return json.loads((path / "results.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join((case[0], *case[3][:1])))
def test_gold_and_empty_runs(
    case: Case, asking: Callable[[Case], list[str]], sandbox: None, tmp_path: Path
) -> None:
    arguments = asking(case)
    assert run([*arguments, "engine=gold", "out=gold"]) == 0
    gold = results(tmp_path / "gold")
    assert gold["metrics"]["accuracy"]["value"] == 1.0, (
        tmp_path / "gold/samples.jsonl"
    ).read_text()
    assert gold["counts"]["skipped"] == gold["counts"]["infrastructure_failures"] == 0
    assert gold["counts"]["scored"] == gold["metrics"]["accuracy"]["count"] > 0
    assert run([*arguments, "engine=empty", "out=empty"]) == 0
    empty = results(tmp_path / "empty")
    assert empty["metrics"]["accuracy"]["value"] == 0.0
    assert empty["counts"]["outcome_no_answer"] == empty["counts"]["scored"]
    page = (tmp_path / "gold/report.html").read_text()
    assert "How answers fail" not in page and 'class="sample" data-verdict="right"' in page
    assert "How answers fail" in (tmp_path / "empty/report.html").read_text()


def test_without_published_solutions_gold_skips(
    asking: Callable[[Case], list[str]], tmp_path: Path
) -> None:
    assert run([*asking(("livecodebench", "d.jsonl", [LCB], ())), "engine=gold", "out=g"]) == 0
    assert results(tmp_path / "g")["counts"]["skipped"] == 1


BAD: list[tuple[str, list[dict[str, Any]], str, str]] = [
    ("humaneval", [{**HUMAN, "prompt": 3}], "", "field 'prompt' must be str, got int"),
    ("humaneval", [{k: v for k, v in HUMAN.items() if k != "test"}], "", "'base_input' is missing"),
    ("humaneval", [HUMAN, HUMAN], "", "holds the problem 'T/0' twice"),
    ("humaneval", [], "", "holds no row"),
    ("humaneval", [{**HUMAN, "test": None}], "", "'base_input' is missing"),
    ("humaneval", [{**HUMAN, "test": "def check(:"}], "", "T/0: the test is no valid Python"),
    ("humaneval", [{**HUMAN, "test": "x = 1"}], "", "the test does not define 'check'"),
    ("humaneval", [{**HUMAN, "entry_point": "down"}], "", "solution does not define 'down'"),
    ("mbpp", [{**MBPP, "test_list": []}], "", "task 11 has no tests"),
    ("mbpp", [{**MBPP, "test_list": [1]}], "", "task 11: test_list holds what is no text"),
    ("mbpp", [{**MBPP, "test_list": ["assert f("]}], "", "task 11: a test is no valid Python"),
    ("cruxeval_output", [{**CRUX[0], "code": "x = 1"}], "", "a: the code does not define 'f'"),
    ("cruxeval_output", [{**CRUX[0], "output": "1 +"}], "", "a: the output is no valid Python"),
    ("cruxeval_input", [{**CRUX[0], "input": "1)"}], "", "a: the call is no valid Python"),
    ("aime", [{**AIME, "answer": "x"}], "", "answer 'x' is no integer from 0 to 999"),
    ("bigobench", [{**BIGO, "time_complexity_inferred": "fast"}], "", "'fast' is no complexity"),
    ("livecodebench", [{**LCB, "public_test_cases": "[{}]"}], "", "public_test_cases of q1 are no"),
    ("livecodebench", [{**LCB, "metadata": "[1]"}], "", "metadata of q1 are no object"),
    ("mbpp", [{**MBPP, "task_id": 5}], "", "no task of the test split"),
    ("livecodebench", [LCB], "benchmark.start=2025-01-01", "no contest from 2025-01-01"),
    ("livecodebench", [{**LCB, "contest_date": "soon"}], "", "'soon' is no date"),
    ("aime", [AIME], "benchmark.year=2025", "no problem of 2025"),
    ("halteval", [{**HALT[0], "enc_code": "AAAA"}], "", "is no packed text"),
    ("cruxeval_output", [{"code": "x"}], "", "field 'input' is missing"),
    ("math500", [MATH], "benchmark.split=train", ""),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case[0]}-{case[3][:40]}")
def test_bad_files_are_explained(
    case: tuple[str, list[dict[str, Any]], str, str],
    asking: Callable[[Case], list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    name, rows, more, wanted = case
    arguments = asking((name, "d.jsonl", rows, (more,) if more else ()))
    code = run([*arguments, "engine=empty", "out=bad"])
    if wanted:
        assert code == 2 and wanted in capsys.readouterr().err
    else:
        assert code == 0  # a local file is the split that it is called


def test_a_model_is_asked_in_its_own_tokens_only(
    asking: Callable[[Case], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    server = ["engine=openai", "engine.base_url=http://127.0.0.1:9/v1", "engine.model=m"]
    assert run([*asking(("mbpp", "d.json", [MBPP], ())), *server, "out=bad"]) == 2
    assert "give benchmark.tokenizer=DIR" in capsys.readouterr().err


def test_other_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        data = f"benchmark.data={tmp_path / name}"
        assert (
            run(["eval", "benchmark=mbpp", data, "engine=empty", f"out={tmp_path / name}-run"]) == 2
        )
        return capsys.readouterr().err

    assert "no suffix that names a format" in told("data.csv", b"a,b")
    assert "line 1 is no valid JSON" in told("data.jsonl", b"{")
    assert "cannot be read" in told("data.jsonl.gz", b"no gzip")
    assert "cannot be read" in told("data.parquet", b"PAR1")
    assert "expected an object" in told("list.jsonl", b"[]\n")
    assert run(["eval", "benchmark=humanevil", "engine=empty", "out=x"]) == 2
    assert "humaneval" in capsys.readouterr().err
