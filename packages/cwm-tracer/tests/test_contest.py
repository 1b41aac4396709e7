"""`cwm trace contest`: contest solutions to balanced, labelled traces."""

import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_core.config import compose
from cwm_core.data.records import TraceRecord
from cwm_core.data.shards import read_shards
from cwm_core.errors import CwmError
from cwm_core.rundir import open_run
from cwm_tracer.collect.balance import Balance, kind_of
from cwm_tracer.collect.contest import collect_contest
from cwm_tracer.collect.contest_config import ContestConfig
from cwm_tracer.compare import same_output
from cwm_tracer.programs.generator import generate

ADD = "a, b = map(int, input().split())\n"
RIGHT = [
    ADD + "print(a + b)\n",
    "import sys\n" + ADD + "print(f'{a + b}  ')\nprint()\nsys.exit()\n",
    "def main():\n    a, b = map(int, open(0).read().split())\n    print(a + b)\n\n"
    "if __name__ == '__main__':\n    main()\n",
    "from sys import stdin\nprint(sum(int(word) for word in stdin.readline().split()))\n",
]
WRONG = [
    ADD + "print(a - b)\n",
    ADD + "print(a + b + 1 // (a - 1))\n",
    ADD + "print(a * b)\n",
    ADD + "print(a + a)\n",
]
ENDLESS = "while True:\n    x = 1\n"
PYTHON2 = "print 3\n"
CPP = "int main() {}\n"


def problem(name="sum", right=RIGHT, wrong=WRONG, **columns):
    return {
        "name": name,
        "description": "Add two numbers.",
        "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
        "private_tests": {"input": ["4 5\n", "x" * 5000], "output": ["9\n", "?"]},
        "generated_tests": {"input": ["2 2\n"], "output": ["4\n"]},
        "solutions": {
            "language": [3] * len(right) + [2, 1],
            "solution": [*right, CPP, PYTHON2],
        },
        "incorrect_solutions": {"language": ["PYTHON3"] * len(wrong), "solution": wrong},
        **columns,
    }


def write(path, problems):
    path.write_text("".join(json.dumps(each) + "\n" for each in problems))
    return path


def run(tmp_path, data, *overrides, out="run"):
    words = [f"data={data}", f"out={tmp_path}/{out}", "workers=1", "split.side=train", *overrides]
    config = compose("trace contest", ContestConfig, words)
    with open_run(config.out, "trace contest", config) as opened:
        summary = collect_contest(config, opened)
    shards = config.out / "traces"
    rows = read_shards(shards) if list(shards.glob("*.parquet")) else []
    return summary, [TraceRecord.from_row(row) for row in rows]


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("contest")
    data = write(tmp_path / "data.jsonl", [problem()])
    return run(tmp_path, data, "tests_per_solution=null", "solutions_per_problem=null")


def test_traces_are_labelled_and_in_balance(collected):
    summary, records = collected
    kinds = Counter(kind_of(record.origin) for record in records)
    # Four right solutions on three tests give 12 right runs. Of the wrong ones, `a + b + 1 //
    # (a - 1)` is right on `4 5`, and on `2 2` so are `a * b` and `a + a`.
    assert kinds == {"contest_correct": 10, "contest_incorrect": 9}
    assert summary["dropped"] == {
        "out of balance": 2,
        "right output of an incorrect solution": 3,
    }


def test_a_trace_shows_module_level_input_and_output(collected):
    _, records = collected
    by_origin = {record.origin: record for record in records}
    record = by_origin["contest_correct:sum solutions[0] public_tests[0]"]
    assert record.entry == "<module>" and record.input == r"stdin='1 2\n'"
    assert record.frames[0].locals == {"stdin": r"'1 2\n'"}
    assert record.frames[2].locals == {"a": "1", "b": "2"}
    assert record.stdout == "3\n" and record.outcome == "returned"
    wrong = by_origin["contest_incorrect:sum incorrect_solutions[1] public_tests[0]"]
    assert wrong.outcome == "raised" and "ZeroDivisionError" in wrong.reason
    assert all(kind_of(record.origin) in record.origin for record in records)


def test_solutions_and_tests_are_drawn_by_seed(tmp_path):
    data = write(tmp_path / "d.jsonl", [problem()])
    words = ["solutions_per_problem=2", "tests_per_solution=1", "incorrect_per_correct=null"]
    origins = []
    for index, seed in enumerate((0, 0, 1, 2)):
        _, records = run(tmp_path, data, *words, f"seed={seed}", out=f"run{index}")
        origins.append({record.origin for record in records})
    assert origins[0] == origins[1]
    assert len({frozenset(found) for found in origins}) > 1
    assert all(len(found) <= 4 for found in origins)


def test_what_is_too_long_or_never_ends_is_counted(tmp_path):
    loop = "for i in range(int(input().split()[0]) * 30):\n    x = i\nprint(3)\n"
    right = [loop, ENDLESS, PYTHON2, RIGHT[0], RIGHT[0] + "\n"]
    data = write(tmp_path / "d.jsonl", [problem(right=right, wrong=[])])
    summary, _ = run(
        tmp_path, data, "tests=[public]", "drop.max_lines=50", "limits.steps=500",
        "solutions_per_problem=null", "incorrect_per_correct=null", "drop.max_events=null",
    )  # fmt: skip
    assert summary["dropped"] == {
        "too many lines": 1,
        "incomplete: step_limit": 1,
        "incomplete: syntax_error": 1,
        "duplicate": 1,
    }
    assert summary["traces"] == 1


def test_parquet_as_published(tmp_path):
    directory = tmp_path / "data"
    directory.mkdir()
    for number, name in enumerate(("a", "b")):
        rows = [problem(name, solutions={"language": [3], "solution": [RIGHT[0] + f"# {name}\n"]})]
        table = pa.Table.from_pylist([{**row, "difficulty": 7} for row in rows])
        pq.write_table(table, directory / f"train-{number:05d}-of-00002.parquet")
    summary, records = run(tmp_path, directory, "incorrect_per_correct=0")
    assert summary["outcomes"] == {"returned": 6}
    assert {record.origin.split()[0] for record in records} == {
        "contest_correct:a", "contest_correct:b",
    }  # fmt: skip


def test_all_solutions_of_a_problem_are_on_one_side(tmp_path):
    problems = [
        problem(
            f"p{i}", right=[generate(10 * i + k, 4).source + RIGHT[0] for k in range(3)], wrong=[]
        )
        for i in range(6)
    ]
    data = write(tmp_path / "d.jsonl", problems)
    _, records = run(
        tmp_path, data, "split.side=fractions", "split.test=0.4", "incorrect_per_correct=null",
        "tests=[public]",
    )  # fmt: skip
    sides = {}
    for record in records:
        sides.setdefault(record.origin.split()[0].partition(":")[2], set()).add(record.split)
    assert all(len(found) == 1 for found in sides.values())
    assert set.union(*sides.values()) >= {"train", "test"}


def test_the_same_command_goes_on(tmp_path):
    data = write(tmp_path / "d.jsonl", [problem()])
    first, records = run(tmp_path, data)
    (tmp_path / "run" / "status.json").write_text(json.dumps({"state": "stopped"}))
    for path in (tmp_path / "run" / "traces").glob("manifest.json"):
        path.unlink()
    again, same = run(tmp_path, data)
    assert again == first
    assert [record.trace_id for record in same] == [record.trace_id for record in records]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"name": "x"}, "public_tests"),
        (problem(solutions={"language": [3], "solution": []}), "solutions must hold two lists"),
        (problem(private_tests=[1]), "private_tests must hold"),
        ([], "JSON object"),
    ],
)
def test_damaged_data_is_told(tmp_path, row, words):
    with pytest.raises(CwmError, match=words):
        run(tmp_path, write(tmp_path / "d.jsonl", [row]))


def test_missing_data_is_told(tmp_path):
    with pytest.raises(CwmError, match="does not exist"):
        run(tmp_path, tmp_path / "nowhere")
    (tmp_path / "bad.parquet").write_text("no")
    with pytest.raises(CwmError, match="no readable Parquet"):
        run(tmp_path, tmp_path / "bad.parquet", out="other")


@pytest.mark.parametrize(
    ("expected", "printed", "tolerance", "same"),
    [
        ("1 2\n", "1\n2", None, True),
        ("YES\n", "  YES  \n\n", None, True),
        ("YES", "yes", None, False),
        ("1", "1 2", None, False),
        ("", "", None, True),
        ("0.5", "0.50", None, False),
        ("0.5", "0.50", 1e-6, True),
        ("1000000", "1000000.5", 1e-6, True),
        ("1", "nan", 1e-6, False),
        ("a", "b", 1e-6, False),
        ("1", "1 1", 1e-6, False),
    ],
)
def test_outputs_are_compared_as_contests_do(expected, printed, tolerance, same):
    assert same_output(expected, printed, tolerance) is same


@given(
    kinds=st.lists(st.sampled_from(["a", "b"]), max_size=60),
    weight=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
    held=st.integers(1, 8),
)
def test_the_balance_holds_at_any_time(kinds, weight, held):
    balance = Balance({"a": 1.0, "b": weight}, held)
    seen = []
    for number, kind in enumerate(kinds):
        kept, surplus = balance.offer({"origin": f"{kind}:{number}"})
        seen += [*kept, *surplus]
        a, b = balance.counts["a"], balance.counts["b"]
        assert abs(a - b / weight) <= max(1, 1 / weight)
    seen += balance.rest()
    assert sorted(row["origin"] for row in seen) == sorted(f"{k}:{n}" for n, k in enumerate(kinds))
