"""The command `cwm trace`, as a user runs it."""

import json
import subprocess
import sys

import pytest

from cwm_core.data.shards import count_rows
from cwm_core.trace.codec import parse_text

EXAMPLE = """\
def total(xs, k=1):
    s = 0
    for x in xs:
        s += x * k
    print("done")
    return s


def stop():
    return 1 / 0
"""
SCRIPT = "from cwm_core.cli.main import main; main()"


@pytest.fixture
def cwm(tmp_path):
    (tmp_path / "example.py").write_text(EXAMPLE)

    def run(*words):
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, "trace", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_a_table_shows_what_changes(cwm):
    done = cwm("example.py:total", "--input", "[1, 2], k=3")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [
        "1",
        "call",
        "def",
        "total(xs,",
        "k=1):",
        "xs",
        "=",
        "[1,",
        "2],",
        "k",
        "=",
        "3",
    ] in lines
    assert ["6", "return", "return", "s", "→", "9"] in lines
    assert "done" in done.stdout
    assert "returned (10 events" in done.stdout


def test_the_wire_text_parses(cwm):
    done = cwm("example.py:total", "--input", "[1]", "--wire")
    trace = parse_text(done.stdout.removesuffix("\n"))
    assert trace.complete
    assert trace.frames[-1].value == "1"
    assert "def total(xs, k=1):  # << START_OF_TRACE\n" in trace.context


def test_json_lines(cwm):
    done = cwm("example.py:stop", "--json")
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry.get("event") for entry in entries] == [
        "call", "line", "exception", "return", None,
    ]  # fmt: skip
    assert entries[0]["locals"] == {}
    assert entries[-1]["outcome"] == "raised"
    assert entries[-1]["reason"] == "ZeroDivisionError('division by zero')"
    assert done.returncode == 0


def test_modules_are_found_without_being_imported(cwm, tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("WORD = 'w'\n")
    (tmp_path / "pack" / "inner.py").write_text(
        "from . import WORD\n\ndef f(n):\n    return WORD * n\n"
    )
    done = cwm("pack.inner:f", "--input", "2")
    assert "→ 'ww'" in done.stdout, done.stdout + done.stderr
    assert "→ 'a'" in cwm("textwrap:dedent", "--input", "'  a'").stdout


def test_a_file_can_import_its_neighbours(cwm, tmp_path):
    (tmp_path / "neighbour.py").write_text("N = 4\n")
    (tmp_path / "main.py").write_text("import neighbour\n\ndef f():\n    return neighbour.N\n")
    assert "→ 4" in cwm("main.py:f").stdout


def test_limits_and_tracer_options(cwm, tmp_path):
    (tmp_path / "loop.py").write_text("def f():\n    while True:\n        x = 1\n")
    done = cwm("loop.py:f", "limits.steps=20")
    assert done.returncode == 1
    assert "step_limit: more than 20 events (20 events" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.py:f"], "missing.py"),
        (["no_such_module:f"], "no_such_module"),
        (["example.py:"], "names no function"),
        (["example.py:total", "limits.step=3"], "limits.steps"),
        (["programs.count=1"], "out"),
        (["programz=generated", "out=x"], "programs"),
    ],
)
def test_mistakes_exit_with_2_and_one_message(cwm, words, message):
    done = cwm(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_function_is_an_outcome(cwm):
    done = cwm("example.py:totl")
    assert done.returncode == 1
    assert "load_error: the program defines no 'totl'" in done.stdout


def test_shards(cwm, tmp_path):
    words = ["programs.count=5", "inputs_per_program=1", "workers=1", "out=run"]
    done = cwm(*words)
    assert done.returncode == 0, done.stderr
    assert "5 traces of 5 programs" in done.stdout
    assert count_rows(tmp_path / "run" / "traces") == 5
    again = cwm(*words)
    assert again.returncode == 0 and "nothing to do" in again.stdout
    other = cwm(*words[1:], "programs.count=6")
    assert other.returncode == 2 and "programs.count" in other.stderr


def test_the_traced_process_loads_the_standard_library_only():
    code = (
        "import sys, cwm_tracer.capture.worker\n"
        "names = {name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(n for n in names if not n.startswith('_')))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.append({_root()!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['cwm_tracer']"


def _root():
    import cwm_tracer

    return cwm_tracer.__path__[0].rpartition("/")[0]
