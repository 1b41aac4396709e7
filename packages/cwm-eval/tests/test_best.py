"""`cwm eval best`: choices among the answers of finished runs, through the command."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cwm_core.cli.main import run
from cwm_core.text.tokenizer import Tokenizer
from cwm_core.trace.codec import prompt_ids, render_ids
from cwm_core.trace.frames import Event, Frame, Trace
from cwm_eval.benchmarks.config import HumanEval, LiveCodeBench, Mbpp
from cwm_eval.benchmarks.cruxeval import call_frame
from cwm_eval.benchmarks.shown_tests import as_call, examples, is_plain
from cwm_eval.samples import Sample, SampleFile, read_samples
from cwm_eval.scaling import generated_tests
from cwm_eval.scaling.problems import program_form
from cwm_eval.statistics import majority_at_k, pass_at_k


def problem(number: int) -> dict[str, Any]:
    """Ask for n plus `number`; the docstring shows one value, the hidden test asks another."""
    return {
        "task_id": f"T/{number}",
        "prompt": f'def add(n):\n    """Add.\n\n    >>> add(1)\n    {1 + number}\n    """\n',
        "entry_point": "add",
        "canonical_solution": f"    return n + {number}\n",
        "test": f"def check(candidate):\n    assert candidate(10) == {10 + number}\n",
    }


def completions(number: int) -> list[str]:
    """Wrong and frequent; right but for what is shown; right on what is shown only; right."""
    return [
        "    return 0\n",
        "    return 0  # again\n",
        f"    return {1 + number}\n",
        f"    return n + {number}\n",
    ]


PROBLEMS = [problem(number) for number in (3, 5, 7)]


def write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def graded_once(tmp_path_factory: pytest.TempPathFactory, sandbox: None) -> Path:
    """A finished run with four answers to each of three problems."""
    path = tmp_path_factory.mktemp("graded")
    write_lines(path / "problems.jsonl", PROBLEMS)
    rows = [
        {"task_id": each["task_id"], "completion": text}
        for number, each in zip((3, 5, 7), PROBLEMS)
        for text in completions(number)
    ]
    write_lines(path / "answers.jsonl", rows)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(path)
        arguments = ["benchmark=humaneval", "benchmark.data=problems.jsonl"]
        arguments += ["answers=answers.jsonl", "grade_as=bare", "out=graded"]
        assert run(["eval", "grade", *arguments]) == 0
    return path


@pytest.fixture
def graded(graded_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of that run in the working directory."""
    shutil.copytree(graded_once, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return "run=graded"


def results(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "results.json").read_text())
    return found


def values(path: Path) -> dict[str, float]:
    return {name: metric["value"] for name, metric in results(path)["metrics"].items()}


def chosen(path: Path) -> dict[str, str]:
    return {s.task_id: s.result["answer"] for s in read_samples(path / "samples.jsonl") if s.result}


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert run(["eval", "best", *arguments, "out=refused"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def test_shown_tests_choose_and_figures_are_those_of_their_formulas(
    graded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["eval", "best", graded, "ks=[2,3,4]", "out=best"]) == 0
    found = values(tmp_path / "best")
    for k in (2, 3, 4):
        votes = majority_at_k(["a", "a", "b", "c"], [False, False, False, True], k)
        assert found[f"majority@{k}"] == pytest.approx(votes, abs=1e-6)
        assert found[f"pass@{k}"] == pytest.approx(pass_at_k(4, 1, k), abs=1e-6)
        assert found[f"best@{k}"] <= found[f"pass@{k}"]
    # Both that pass what is shown are equal in votes; "return 4" is shorter than "return n + 3".
    assert found["best@4"] == 0.0 and found["best@2"] == pytest.approx(1 / 3, abs=1e-6)
    assert found["accuracy"] == 0.25
    counts = results(tmp_path / "best")["counts"]
    assert (counts["problems"], counts["answers"], counts["shown_tests"]) == (3, 12, 3)
    page = (tmp_path / "best/report.html").read_text()
    assert "Choosing among several answers" in page and "chosen: answer 3 of 4" in page
    assert "best@4" in (tmp_path / "best/report.md").read_text()
    assert "best@4" in capsys.readouterr().err
    before = (tmp_path / "best/samples.jsonl").stat().st_mtime_ns
    assert run(["eval", "best", graded, "ks=[2,3,4]", "out=best"]) == 0
    assert (tmp_path / "best/samples.jsonl").stat().st_mtime_ns == before


def test_given_tests_decide_between_those_that_pass_what_is_shown(
    graded: str, tmp_path: Path
) -> None:
    rows = [
        {"task_id": each["task_id"], "tests": [f"assert add(2) == {2 + number}"]}
        for number, each in zip((3, 5, 7), PROBLEMS)
    ]
    write_lines(tmp_path / "tests.jsonl", rows)
    assert run(["eval", "best", graded, "tests=tests.jsonl", "out=best"]) == 0
    found = values(tmp_path / "best")
    assert found["best@4"] == 1.0 and found["best@2"] == found["pass@2"] == 0.5
    assert run(["eval", "compare", "graded", "best"]) == 0
    assert run(["eval", "best", graded, "tests=tests.jsonl", "existing=false", "out=new"]) == 0
    assert values(tmp_path / "new")["best@4"] == 1.0


def test_what_decides_never_influences_a_choice(graded: str, tmp_path: Path) -> None:
    assert run(["eval", "best", graded, "out=best"]) == 0
    shutil.copytree(tmp_path / "graded", tmp_path / "other")
    with SampleFile(tmp_path / "other/samples.jsonl") as file:
        for sample in list(read_samples(tmp_path / "graded/samples.jsonl")):
            assert sample.result is not None
            turned = {**sample.result, "right": not sample.result["right"], "outcome": "right"}
            file.append(Sample(sample.task_id, sample.metadata, turned))
    hidden = "def check(candidate):\n    assert candidate(10) == 0\n"
    rows = [{**each, "test": hidden, "canonical_solution": "    return 0\n"} for each in PROBLEMS]
    write_lines(tmp_path / "problems.jsonl", rows)
    assert run(["eval", "best", "run=other", "out=best-other"]) == 0
    assert chosen(tmp_path / "best-other") == chosen(tmp_path / "best")
    assert values(tmp_path / "best-other")["best@4"] == 1 - values(tmp_path / "best")["best@4"]


def script(path: Path, tokenizer: Tokenizer, texts: list[str]) -> list[str]:
    """Write completions in order; return the overrides of an engine that says them."""
    write_lines(path, [{"token_ids": tokenizer.encode(text)} for text in texts])
    return ["engine=scripted", f"engine.path={path}"]


def test_an_engine_writes_tests_once(
    graded: str, tmp_path: Path, tokenizer: Tokenizer, tokenizer_dir: Path
) -> None:
    texts = [
        text
        for number in (3, 5, 7)
        for text in (
            f"```python\nassert add(2) == {2 + number}\nassert add(open('/x')) == 1\n```",
            f"Here:\nassert add(2) == {2 + number}\nassert add(-{number}) == 0\nassert add(",
        )
    ]
    asked = ["generate=2", "concurrency=1", f"tokenizer={tokenizer_dir}", "cache=said.jsonl"]
    engine = script(tmp_path / "script.jsonl", tokenizer, texts)
    assert run(["eval", "best", graded, *engine, *asked, "out=best"]) == 0
    found = results(tmp_path / "best")
    assert found["metrics"]["best@4"]["value"] == 1.0
    assert found["counts"]["generated_tests"] == 6 and found["counts"]["generated_tokens"] > 300
    assert len((tmp_path / "said.jsonl").read_text().splitlines()) == 6
    script(tmp_path / "script.jsonl", tokenizer, [])
    assert run(["eval", "best", graded, *engine, *asked, "out=again"]) == 0
    assert values(tmp_path / "again") == values(tmp_path / "best")


def test_an_engine_that_fails_is_an_infrastructure_failure(
    graded: str,
    tmp_path: Path,
    tokenizer: Tokenizer,
    tokenizer_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["generate=1", "concurrency=1", f"tokenizer={tokenizer_dir}", "retries=0"]
    engine = script(tmp_path / "script.jsonl", tokenizer, ["assert add(2) == 5"])
    assert "2 of 3 tasks could not be evaluated" in fails([graded, *engine, *asked], capsys)
    texts = ["assert add(2) == 7", "assert add(2) == 9"]
    script(tmp_path / "script.jsonl", tokenizer, texts)
    assert run(["eval", "best", graded, *engine, *asked, "out=refused"]) == 0
    assert values(tmp_path / "refused")["best@4"] == 1.0


def test_predicted_executions_choose(
    graded: str, tmp_path: Path, tokenizer: Tokenizer, tokenizer_dir: Path
) -> None:
    """The model says what each program returns for the example; of "return 4" it is mistaken."""
    rows = []
    for number in (3, 5, 7):
        for completion in completions(number):
            code = problem(number)["prompt"] + completion
            context, frame = call_frame(code, "1", "add")
            said = str(1 + number) if "n +" in completion else "0"
            last = Frame(Event.RETURN, code.splitlines(keepends=True)[-1], None, said)
            encoded = render_ids(Trace(context, (frame, last)), tokenizer)
            answer = encoded.ids[encoded.prompt_length :]
            asked = list(prompt_ids(context, frame, tokenizer))
            rows.append({"prompt_ids": asked, "token_ids": list(answer)})
    path = write_lines(tmp_path / "script.jsonl", rows)
    engine = ["engine=scripted", f"engine.path={path}", f"tokenizer={tokenizer_dir}"]
    assert run(["eval", "best", graded, *engine, "verify=true", "out=best"]) == 0
    found = values(tmp_path / "best")
    assert found["verified@4"] == 1.0 and found["best@4"] == 0.0
    assert found["verified@2"] == pytest.approx(found["pass@2"])


def test_a_killed_choice_goes_on(graded: str, tmp_path: Path) -> None:
    rows = [{"task_id": each["task_id"], "tests": TESTS} for each in PROBLEMS]
    write_lines(tmp_path / "tests.jsonl", rows)
    arguments = [graded, "tests=tests.jsonl", "concurrency=1"]
    command = [sys.executable, "-m", "cwm_core", "eval", "best", *arguments, "out=killed"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    samples = tmp_path / "killed/samples.jsonl"
    while not (samples.exists() and samples.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = samples.read_text().splitlines(keepends=True)[0]
    assert run(["eval", "best", *arguments, "out=killed"]) == 0
    assert samples.read_text().startswith(kept)
    assert len(samples.read_text().splitlines()) == 3
    assert run(["eval", "best", *arguments, "out=whole"]) == 0
    assert results(tmp_path / "killed")["metrics"] == results(tmp_path / "whole")["metrics"]


TESTS = [f"assert add({n}) == {n + 3}" for n in range(20)]


# Patches


@pytest.fixture
def swe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[dict[str, Any]]], str]:
    """Write a finished run of swebench with the given results of one instance."""
    monkeypatch.chdir(tmp_path)

    def make(rows: list[dict[str, Any]]) -> str:
        path = tmp_path / "swe"
        path.mkdir()
        with SampleFile(path / "samples.jsonl") as file:
            for number, row in enumerate(rows):
                usual = {"question": "Mend it", "text": "", "new_tokens": 9, "finish": "stop"}
                outcome = (
                    "right" if row["right"] else "unresolved" if row["answer"] else "no_answer"
                )
                names = {"problem": "a__b-1", "sample": number}
                result = {**usual, "outcome": outcome, "truth": "", "detail": "", **row}
                file.append(Sample(f"a__b-1#{number}", names, result))
        found = {"label": "SWE", "benchmark": "swebench", "metrics": {}, "counts": {}, "config": {}}
        (path / "results.json").write_text(json.dumps(found))
        return "run=swe"

    return make


def patch(line: str, at: int) -> str:
    return f"diff --git a/x b/x\nindex {at}..2\n@@ -{at},2 +{at},2 @@\n-a\n+{line}\n"


def test_patches_vote(swe: Any, tmp_path: Path) -> None:
    rows = [
        {"answer": patch("wrong", 1), "right": False, "new_tokens": 1},
        {"answer": patch("good", 1), "right": True},
        {"answer": patch("good", 9), "right": True},
        {"answer": "", "right": False},
    ]
    assert run(["eval", "best", swe(rows), "out=best"]) == 0
    found = values(tmp_path / "best")
    assert found["best@4"] == found["majority@4"] == found["pass@4"] == 1.0
    assert run(["eval", "predictions", "best", "--out", "preds.jsonl"]) == 0
    (prediction,) = map(json.loads, (tmp_path / "preds.jsonl").read_text().splitlines())
    assert prediction["instance_id"] == "a__b-1" and "+good" in prediction["model_patch"]
    assert "SWE-bench Verified, best@16" in (tmp_path / "best/report.md").read_text()


def test_stored_results_of_generated_tests_outweigh_votes(swe: Any, tmp_path: Path) -> None:
    bad = {"answer": patch("wrong", 1), "right": False, "generated_tests": {"t": False, "u": True}}
    good = {"answer": patch("good", 1), "right": True, "generated_tests": {"t": True, "u": True}}
    broken = {**bad, "generated_tests": {"t": True, "u": True}, "existing_tests": 0.5}
    assert run(["eval", "best", swe([bad, bad, broken, broken, good]), "out=best"]) == 0
    found = values(tmp_path / "best")
    assert (found["best@5"], found["majority@5"]) == (1.0, 0.0)


def test_patches_are_not_run_here(swe: Any, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"answer": patch("x", 1), "right": True}
    assert "patches are not run here" in fails([swe([row, row]), "tests=t.jsonl"], capsys)


# What cannot be chosen from


def test_one_answer_per_problem(swe: Any, capsys: pytest.CaptureFixture[str]) -> None:
    told = fails([swe([{"answer": "x", "right": True}])], capsys)
    assert "one answer per problem" in told and "benchmark.samples=20" in told


def test_runs_without_programs_and_unfinished_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "nowhere does not exist" in fails(["run=nowhere"], capsys)
    row = {"problem": "1", "solution": "", "answer": "1", "subject": "s", "level": 1}
    write_lines(tmp_path / "m.jsonl", [{**row, "unique_id": "m/1"}])
    asked = ["benchmark=math500", "benchmark.data=m.jsonl", "benchmark.samples=2"]
    assert run(["eval", *asked, "benchmark.workers=1", "engine=empty", "out=math"]) == 0
    assert "math500 asks for no programs" in fails(["run=math"], capsys)


def test_programs_are_no_predictions(graded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "predictions", "graded", "--out", "p.jsonl"]) == 2
    assert "answers to humaneval, no patches" in capsys.readouterr().err


def test_nothing_to_choose_by(
    graded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "there are no tests to choose by" in fails([graded, "existing=false"], capsys)
    assert "give engine=..." in fails([graded, "generate=2"], capsys)
    assert "nothing to ask the engine" in fails([graded, "engine=empty"], capsys)
    asking = [graded, "engine=empty", "generate=1"]
    assert "the engine brings no tokenizer" in fails(asking, capsys)
    assert "no problem has more than 4 answers" in fails([graded, "ks=[8]"], capsys)
    told = fails([graded, "data=nowhere.jsonl"], capsys)
    assert "nowhere.jsonl does not exist" in told
    write_lines(tmp_path / "few.jsonl", PROBLEMS[:1])
    assert "2 problems of the run are not in its data" in fails([graded, "data=few.jsonl"], capsys)
    bare = [{**each, "prompt": "def add(n):\n"} for each in PROBLEMS]
    write_lines(tmp_path / "bare.jsonl", bare)
    assert "the questions show no tests" in fails([graded, "data=bare.jsonl"], capsys)


BAD_TESTS: list[tuple[list[Any], str]] = [
    ([], "holds no row"),
    ([{"task_id": "T/3"}], "field 'tests' is missing"),
    ([{"tests": []}], "row 1, names no problem"),
    ([{"task_id": "X", "tests": []}], "has no tests of a problem of the run"),
    ([{"task_id": "T/3", "tests": ["import os"]}], '"import os" cannot be used'),
    ([{"task_id": "T/3", "tests": [{"input": "1", "output": "2"}]}], "cannot be used"),
]


@pytest.mark.parametrize(("rows", "wanted"), BAD_TESTS)
def test_bad_files_of_tests(
    rows: list[Any], wanted: str, graded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(tmp_path / "tests.jsonl", rows)
    assert wanted in fails([graded, "tests=tests.jsonl"], capsys)


# What questions show


def test_examples_of_docstrings() -> None:
    prompt = '''
def f(x, y=1):
    """Do it; f(x) is something, f(0) is not.

    >>> f([1, 2], y=2)
    [3]
    >>> f('a')  # a comment
    'b'
    >>> g(1)
    2
    f(3) == 4.
    f("x") ==> true  # why
    f(7)   # returns {"a": 1}
    f(8) = 1 + 8 = 9
    f(n) == 3
    """
'''
    assert examples(prompt, "f") == [
        "assert f([1, 2], y=2) == [3]",
        "assert f('a') == 'b'",
        "assert f(3) == 4.0",
        "assert f(7) == {'a': 1}",
        "assert f(8) == 9",
    ]
    assert as_call("assert f([1, 2], y=2) == [3]", "f") == ("[1, 2], y=2", "[3]")
    assert as_call("assert g(1) == 2", "f") is as_call("assert f(1) > 2", "f") is None


@pytest.mark.parametrize(
    "assertion",
    [
        "assert True",
        "assert f",
        "x = f(1)",
        "assert f(1) == 2; import os",
        "assert f(open('/etc/passwd')) == 1",
        "assert f(().__class__) == 1",
        "assert '{0.__class__}'.format(f(1)) == ''",
        "assert [f for f in [1]] == f(1)",
        "assert (len := f(1))",
        "assert f(9 ** 9 ** 9) == 1",
        "assert f(\x00)",
    ],
)
def test_assertions_that_reach_for_more(assertion: str) -> None:
    assert not is_plain(assertion, "f")


def test_plain_assertions() -> None:
    for text in (
        "assert f(1) == 2, 'message'",
        "assert sorted(f(x) for x in [1, 2]) == [2, 3]",
        "assert math.isclose(f(2 ** 0.5), 1.0)",
        "assert f('a'.upper()) is None",
    ):
        assert is_plain(text, "f"), text


def test_programs_vote_together_whatever_their_layout() -> None:
    one = 'def f(x):\n    """Doc."""\n    return x  # yes\n'
    assert program_form(one) == program_form("def f(x): return (x)")
    assert program_form(one) != program_form("def f(x): return x + 1")
    assert program_form("def f(:") == program_form("def f(:\n\n")


def test_mbpp_shows_one_assertion_to_choices(tmp_path: Path) -> None:
    row = {
        "text": "Double.",
        "code": "def double(x):\n    return 2 * x\n",
        "task_id": 11,
        "test_list": ["assert double(2) == 4", "assert double(5) == 10"],
    }
    data = str(write_lines(tmp_path / "m.jsonl", [row, {**row, "task_id": 12, "test": "x = 1"}]))
    built = Mbpp(name="mbpp", data=data).build().environment
    assert isinstance(built, generated_tests.ProgramEnvironment)
    plain, plus = built.tasks("test")
    assert built.entry(plain) == "double"
    assert [test.name for test in built.shown_tests(plain)] == ["assert double(2) == 4"]
    assert len(built.shown_tests(plus)) == 2
    asked = generated_tests.request(built, plain, 5)
    assert "double(2) == 4" in asked and "double(5)" not in asked and "2 * x" not in asked


CONTEST = {
    "question_title": "Sum",
    "question_content": "Add two numbers.",
    "platform": "atcoder",
    "question_id": "q1",
    "contest_id": "c",
    "contest_date": "2024-10-05",
    "difficulty": "easy",
    "private_test_cases": "[]",
}
STDIN = {
    **CONTEST,
    "starter_code": "",
    "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]),
    "metadata": "{}",
}
CALL = {
    **CONTEST,
    "question_id": "q2",
    "starter_code": "class Solution:\n    def pair(self, a: int, b: List[int]) -> List[int]:\n",
    "public_test_cases": json.dumps(
        [{"input": "1\n[2]", "output": "[1, 2]", "testtype": "functional"}]
    ),
    "metadata": json.dumps({"func_name": "pair"}),
}


def test_contests_take_inputs_and_outputs(tmp_path: Path, sandbox: None) -> None:
    data = str(write_lines(tmp_path / "l.jsonl", [STDIN, CALL]))
    built = LiveCodeBench(name="livecodebench", data=data).build().environment
    assert isinstance(built, generated_tests.ProgramEnvironment)
    stdin, call = built.tasks("test")
    said = "```input\n4 5\n```\nand\n```output\n9\n```\n```input\nx\n```"
    (written,) = generated_tests.read_tests(built, stdin, said)
    assert "what it prints" in generated_tests.request(built, stdin, 5)
    right, wrong = "print(sum(map(int, input().split())))", "print(3)"
    values = (
        "```input\n1\n[2, 3]\n```\n```output\n[1, 2, 3]\n```\n```input\n?\n```\n```output\n1\n```"
    )
    (of_call,) = generated_tests.read_tests(built, call, values)
    solution = "class Solution:\n    def pair(self, a, b):\n        return (a, *b)"

    async def passed() -> list[bool]:
        tried = [
            (stdin, right, written),
            (stdin, wrong, written),
            *((stdin, wrong, test) for test in built.shown_tests(stdin)),
            (call, solution, of_call),
            *((call, solution, test) for test in built.shown_tests(call)),
        ]
        return [(await built.passes(*each)).passed for each in tried]

    try:
        assert asyncio.run(passed()) == [True, False, True, True, True]
    finally:
        built.close()


def test_shown_examples_of_humaneval_agree_with_its_solutions(
    shared_data: Path, sandbox: None
) -> None:
    """Docstrings of four problems contradict their solutions; a sixth of the others is run."""
    data = str(shared_data / "HumanEval.jsonl.gz")
    built = HumanEval(name="humaneval", data=data).build().environment
    assert isinstance(built, generated_tests.ProgramEnvironment)
    tasks = list(built.tasks("test"))
    assert sum(bool(built.shown_tests(task)) for task in tasks) == 140
    wrong = {f"HumanEval/{number}" for number in (47, 116, 130, 148)}

    async def passed() -> bool:
        found = await asyncio.gather(
            *(
                built.passes(task, built.truth(task), test)
                for task in tasks[::6]
                if task.id not in wrong
                for test in built.shown_tests(task)
            )
        )
        return len(found) > 50 and all(verdict.passed for verdict in found)

    try:
        assert asyncio.run(passed())
    finally:
        built.close()
