"""Programs out of benchmark files, and what is said about bad ones."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cwm_core.errors import CwmError, DataError
from cwm_tracer.programs import Program
from cwm_tracer.programs.benchmark_files import read_programs

CRUX = {"code": "def f(a):\n    return a", "input": "[1, 2]", "output": "[1, 2]", "id": "sample_7"}
HUMAN = {
    "task_id": "HumanEval/9",
    "prompt": "def inc(x, by=1):\n    '''Add.'''\n",
    "entry_point": "inc",
    "canonical_solution": "    return x + by\n",
    "test": "def check(candidate):\n    assert candidate(-1) == 0\n    y = 3\n"
    "    assert candidate(y) == 4\n    assert candidate(2, by=[3][0]) == 5\n"
    "    assert candidate(2, by=3) == 5\n    assert candidate(-1) == 0\n",
}
MBPP = {
    "text": "t",
    "code": "class P:\r\n    pass\r\ndef g(x):\r\n\treturn x\r\ndef f(x, p):\r\n\treturn g(x)\r\n",
    "task_id": 3,
    "test_setup_code": "root = P()",
    "test_list": ["assert f([1, 2], root) == [1, 2]", "assert set(f([], P())) == set()"],
    "challenge_test_list": [],
}
OWN = {"source": "def f(s, k=1):\n    return s * k\n", "entry": "f", "inputs": ["'ab', k=3", "''"]}


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def call(program: Program, text: str) -> object:
    namespace: dict[str, object] = {}
    exec(program.source, namespace)
    return eval(f"{program.entry}({text})", namespace)


def test_cruxeval(tmp_path: Path) -> None:
    (program,) = read_programs(lines(tmp_path / "c.jsonl", CRUX))
    assert (program.entry, program.inputs) == ("f", ("[1, 2]",))
    assert program.origin == "c.jsonl:1 sample_7"
    assert call(program, program.inputs[0]) == [1, 2]


def test_humaneval_takes_literal_arguments_once(tmp_path: Path) -> None:
    (program,) = read_programs(lines(tmp_path / "h.jsonl", HUMAN))
    assert program.entry == "inc" and program.inputs == ("-1", "2, by=3")
    assert [call(program, text) for text in program.inputs] == [0, 5]


def test_mbpp_setup_code_and_line_ends(tmp_path: Path) -> None:
    (program,) = read_programs(lines(tmp_path / "m.jsonl", MBPP))
    assert program.entry == "f" and program.inputs == ("[1, 2], root", "[], P()")
    assert "\r" not in program.source
    assert [call(program, text) for text in program.inputs] == [[1, 2], []]


def test_own_format_and_gzip(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps(OWN) + "\n\n" + json.dumps(OWN)).encode()))
    first, second = read_programs(path)
    assert first.inputs == ("'ab', k=3", "''") and first.id == second.id
    assert second.origin == "own.jsonl.gz:3"
    assert call(first, first.inputs[0]) == "ababab"


def test_limit_reads_no_further(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(OWN) + "\n{broken")
    assert len(list(read_programs(path, limit=1))) == 1
    assert list(read_programs(path, limit=0)) == []


def test_program_with_a_syntax_error_is_kept(tmp_path: Path) -> None:
    (program,) = read_programs(lines(tmp_path / "c.jsonl", {**CRUX, "code": "def f(:"}))
    assert program.constructs == () and program.inputs == ("[1, 2]",)


PYTHON = """def helper(x):
    return x + 1

def main(xs, n=2):
    return [helper(x) * n for x in xs]

if __name__ == "__main__":
    print(main([1, 2]), main([3], n=4))
"""


def test_python_file(tmp_path: Path) -> None:
    path = tmp_path / "p.py"
    path.write_text(PYTHON)
    (program,) = read_programs(path)
    assert program.entry == "main" and program.inputs == ("[1, 2]", "[3], n=4")
    (program,) = read_programs(path, entry="helper", inputs=["5", "-1"])
    assert program.entry == "helper" and program.inputs == ("5", "-1")


def test_python_file_without_arguments(tmp_path: Path) -> None:
    path = tmp_path / "p.py"
    path.write_text("def go(n=3):\n    return n\n")
    assert next(read_programs(path)).inputs == ("",)


def bad(tmp_path: Path, name: str, content: bytes, **options: str) -> DataError:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_programs(path, **options))
    assert name in caught.value.message and caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"{broken\n", ":1: not valid JSON"),
        (json.dumps(CRUX).encode() + b"\n[1]\n", ":2: expected a JSON object, got list"),
        (b'{"a": 1}', ":1: fields a fit no known format"),
        (b"{}", "(none)"),
        (json.dumps(CRUX).encode() + b'\n{"code": "x"}', ":2: field 'input' is missing"),
        (json.dumps({**CRUX, "input": 3}).encode(), "field 'input' must be str, got int"),
        (json.dumps({**MBPP, "task_id": True}).encode(), "'task_id' must be int, got bool"),
        (json.dumps({**OWN, "inputs": [1]}).encode(), "'inputs' must be a list of strings"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_bad_json_lines(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in bad(tmp_path, "x.jsonl", content).message


def test_wrong_format_named(tmp_path: Path) -> None:
    content = json.dumps(CRUX).encode()
    error = bad(tmp_path, "x.jsonl", content, format="mbpp")
    assert "task_id" in error.message and "test_list" in str(error.hint)
    with pytest.raises(DataError, match="unknown program file format 'xml'"):
        read_programs(tmp_path / "x.jsonl", format="xml")


def test_damaged_gzip(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(OWN).encode() * 50)
    assert "gzip" in bad(tmp_path, "a.jsonl.gz", whole[:-20]).message
    assert "gzip" in bad(tmp_path, "b.jsonl.gz", b"plain text").message


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such program file"):
        list(read_programs(tmp_path / "no.jsonl"))
    with pytest.raises(DataError, match="no such program file"):
        list(read_programs(tmp_path / "no.py"))
    with pytest.raises(DataError, match="cannot read"):
        list(read_programs(tmp_path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"def f(:\n", "bad.py:1: not valid Python"),
        (b"x = 1\n", "no top-level function"),
        (b"def f(x):\n    return x\n", "nothing calls 'f'"),
        (b"\xff\n", "not UTF-8"),
    ],
)
def test_bad_python_file(tmp_path: Path, content: bytes, says: str) -> None:
    assert says in bad(tmp_path, "bad.py", content).message


@given(st.binary(max_size=200))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_programs_or_one_error(tmp_path: Path, content: bytes) -> None:
    for name in ("any.jsonl", "any.py", "any.jsonl.gz"):
        path = tmp_path / name
        path.write_bytes(content)
        try:
            list(read_programs(path))
        except CwmError as error:
            assert error.hint


def test_real_benchmarks(shared_data: Path) -> None:
    expected = {
        "cruxeval.jsonl": (800, 800),
        "HumanEval.jsonl.gz": (164, 1100),
        "mbpp.jsonl": (974, 2900),
    }
    for name, (count, inputs) in expected.items():
        programs = list(read_programs(shared_data / name))
        assert len(programs) == count
        assert sum(len(program.inputs) for program in programs) >= inputs
        for program in programs:
            namespace: dict[str, object] = {"__name__": "program"}
            exec(program.source, namespace)
            assert callable(namespace[program.entry])
            for text in program.inputs:
                eval(f"(lambda *a, **k: None)({text})", namespace)
