"""GitHub Actions: expressions, matrices, and a job played as shell text."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwm_core.errors import CwmError, DataError
from cwm_core.plugins import registry
from cwm_forager.images.activ.expressions import (
    ExpressionError,
    Scope,
    Unknown,
    condition,
    evaluate,
    substitute,
)
from cwm_forager.images.activ.interpret import editable, in_shell
from cwm_forager.images.activ.strategy import lines_with_tests, makefile
from cwm_forager.images.activ.workflow import Job, best_combination, load_workflow, matrix_of
from cwm_forager.images.plan import BuildPlan, PlanError, Surroundings

CONTEXTS: dict[str, Any] = {
    "matrix": {"os": "ubuntu-latest", "python-version": "3.12", "n": 3},
    "github": {"event_name": "push", "ref": "refs/heads/main"},
    "env": {"A": "1"},
    "list": [{"name": "x"}, {"name": "y"}],
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("matrix.os == 'UBUNTU-latest'", True),
        ("matrix['python-version']", "3.12"),
        ("matrix.missing", None),
        ("matrix.os == 'x' && 'a' || 'b'", "b"),
        ("!matrix.missing", True),
        ("1 < 2 && 2 >= 2", True),
        ("'it''s'", "it's"),
        ("null == 0", True),
        ("'abc' == 0", False),
        ("startsWith(github.ref, 'refs/HEADS/')", True),
        ("endsWith('a.py', '.py')", True),
        ("contains('Hello', 'ell')", True),
        ("contains(fromJSON('[\"a\", \"b\"]'), 'b')", True),
        ("format('{0}-{1}-{{2}}', 'a', 1)", "a-1-{2}"),
        ("join(list.*.name, '+')", "x+y"),
        ("list[1].name", "y"),
        ("toJSON('a')", '"a"'),
        ("(1 == 1) == true", True),
        ("0x10", 16.0),
        ("success() && !failure() && !cancelled() && always()", True),
        ("hashFiles('nothing')", ""),
    ],
)
def test_expressions(expression: str, value: Any, tmp_path: Path) -> None:
    assert evaluate(expression, Scope(CONTEXTS, tmp_path)) == value


@pytest.mark.parametrize(
    "expression", ["", "a ==", "f(", "unknown('x')", "'open", "1 2", "a.", "@"]
)
def test_wrong_expressions_are_named(expression: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(expression, Scope(CONTEXTS))


@given(st.text(alphabet="ab.'()[]!=<>&|,0 1*", max_size=20))
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        evaluate(text, Scope({"a": {"b": 1}}))


def test_substitution_keeps_types_and_text() -> None:
    scope = Scope(CONTEXTS)
    assert substitute("${{ matrix.n }}", scope) == 3
    assert substitute("py${{ matrix.python-version }}-${{matrix.n}}", scope) == "py3.12-3"
    assert substitute("$HOME ${X}", scope) == "$HOME ${X}"


def test_conditions_ask_for_success_unless_they_say_so() -> None:
    failed = Scope(CONTEXTS, failed=True)
    assert not condition("matrix.n == 3", failed)
    assert condition("always()", failed)
    assert condition("${{ matrix.n == 3 }}", Scope(CONTEXTS))
    assert not condition("'' ", Scope(CONTEXTS))


def test_unknown_values_become_shell_text_and_are_listed() -> None:
    scope = Scope({"steps": Unknown("$(cat x)")})
    assert substitute("v=${{ steps.a.outputs.b }}", scope) == "v=$(cat x)"
    assert scope.unknown == ["steps.a.outputs.b"]
    assert not condition("steps.a.outputs.b == 'x'", scope)


def job(matrix: Any, **more: Any) -> Job:
    return Job("ci.yml", "test", {"strategy": {"matrix": matrix}, "steps": [], **more}, {})


def test_matrix_as_documented() -> None:
    """The example of GitHub's page on matrices."""
    made = matrix_of(
        job(
            {
                "fruit": ["apple", "pear"],
                "animal": ["cat", "dog"],
                "include": [
                    {"color": "green"},
                    {"color": "pink", "animal": "cat"},
                    {"fruit": "apple", "shape": "circle"},
                    {"fruit": "banana"},
                    {"fruit": "banana", "animal": "cat"},
                ],
            }
        ),
        Scope({}),
    )
    assert made == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_matrix_excludes_and_reads_json() -> None:
    scope = Scope({})
    made = matrix_of(
        job({"a": [1, 2], "b": [3, 4], "exclude": [{"a": 1, "b": 3}, {"a": 2}]}), scope
    )
    assert made == [{"a": 1, "b": 4}]
    assert matrix_of(job({"a": "${{ fromJSON('[1, 2]') }}"}), scope) == [{"a": 1}, {"a": 2}]
    assert matrix_of(job(None), scope) == [{}]


def test_the_combination_that_can_be_played_is_taken() -> None:
    made = [
        {"os": "windows-latest", "py": "3.11"},
        {"os": "ubuntu-latest", "py": "3.9"},
        {"os": "ubuntu-latest", "py": "3.11"},
        {"os": "ubuntu-latest", "py": "pypy-3.11"},
    ]
    assert best_combination(made, "ubuntu-latest", ("3.11",), {}) == made[2]
    assert best_combination(made, "ubuntu-latest", ("3.11",), {"py": "3.9"}) == made[1]


WORKFLOW = """
name: CI
on: [push]
env: {TOP: top}
defaults: {run: {shell: bash, working-directory: .}}
jobs:
  lint:
    runs-on: ubuntu-latest
    steps: [{run: ruff check .}]
  test:
    runs-on: ${{ matrix.os }}
    strategy:
      matrix: {os: [windows-latest, ubuntu-latest], py: ['3.8', '3.11']}
    env: {WHERE: '${{ matrix.os }}'}
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with: {python-version: '${{ matrix.py }}'}
      - uses: ./.github/actions/prepare
        with: {what: thing}
      - uses: acme/mystery@v1
      - name: Windows only
        if: runner.os == 'Windows'
        run: choco install x
      - name: Install
        run: |
          python -m pip install .[test]
          echo "KEY=value" >> $GITHUB_ENV
      - name: Test
        run: |
          export LATE=1
          pytest -v --cov=widget -k "not slow" tests
"""
ACTION = """
runs:
  using: composite
  steps:
    - run: echo preparing ${{ inputs.what }}
      shell: bash
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "widget"
    (root / ".github" / "workflows").mkdir(parents=True)
    (root / ".github" / "actions" / "prepare").mkdir(parents=True)
    (root / "tests").mkdir()
    (root / ".github" / "workflows" / "ci.yml").write_text(WORKFLOW)
    (root / ".github" / "actions" / "prepare" / "action.yml").write_text(ACTION)
    (root / "pyproject.toml").write_text("[project]\nname = 'widget'\nversion = '1'\n")
    return root


def plan_of(repository: Path, **options: Any) -> BuildPlan:
    def workbench() -> Any:
        raise AssertionError("not needed")

    strategy = registry().make("image_strategies", "activ", use_act=False, **options).build()
    surroundings = Surroundings(("3.11",), workbench, lambda text: None)
    return asyncio.run(strategy.plan(repository, surroundings))


def test_the_job_that_tests_is_played(repository: Path) -> None:
    plan = plan_of(repository)
    script = plan.script()
    assert plan.test_command[-3:] == ("-k", "not slow", "tests")
    assert plan.environment["TOP"] == "top"
    assert plan.environment["WHERE"] == "ubuntu-latest"
    assert "pip install -e .[test]" in script
    assert "echo preparing thing" in script
    assert "export LATE=1" in script
    assert "choco" not in script
    assert "ruff" not in script
    assert "unknown action left out: acme/mystery@v1" in plan.notes
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_packages_of_another_job_are_built(repository: Path) -> None:
    path = repository / ".github" / "workflows" / "ci.yml"
    artifact = "{uses: actions/download-artifact@v4, with: {name: Packages, path: dist}}"
    logs = "{uses: actions/download-artifact@v4, with: {name: logs}}"
    path.write_text(
        f"jobs: {{a: {{steps: [{artifact}, {logs}, {{run: ls dist}}, {{run: pytest}}]}}}}"
    )
    plan = plan_of(repository)
    assert "python -m build --outdir dist" in plan.script()
    assert "download-artifact: 'logs' of another job is not there" in plan.notes


def test_unknown_actions_may_be_fatal(repository: Path) -> None:
    with pytest.raises(PlanError, match="acme/mystery"):
        plan_of(repository, unknown_actions="fail")


def test_a_workflow_may_be_given(repository: Path, tmp_path: Path) -> None:
    given = tmp_path / "other.yml"
    given.write_text("jobs: {a: {steps: [{run: python -m unittest discover -s tests}]}}")
    assert plan_of(repository, workflow_file=given).test_command[-1] == "tests"
    with pytest.raises(PlanError, match="no workflow"):
        plan_of(repository, job="nosuch")


@pytest.mark.parametrize("text", ["a: [", "- 1", "jobs: 3", ""])
def test_damaged_workflows_are_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text(text)
    with pytest.raises(DataError, match=r"x\.yml"):
        load_workflow(tmp_path / "x.yml")


def test_what_steps_leave_reaches_later_ones(tmp_path: Path) -> None:
    """Environment, multi-line values, path and outputs, as the runner's files say."""
    first = in_shell(
        'echo "A=1" >> $GITHUB_ENV; printf "B<<E\\nx\\ny\\nE\\n" >> $GITHUB_ENV; '
        f'echo {tmp_path} >> $GITHUB_PATH; echo "o=7" >> $GITHUB_OUTPUT',
        "bash -e {0}", ".", {}, "s", False,
    )  # fmt: skip
    second = in_shell('echo "$A|$B|$C|${PATH%%:*}"', "bash -e {0}", ".", {"C": "c d"}, "", False)
    script = f"{first}\n{second}".replace("/tmp/cwm-activ", str(tmp_path / "state"))
    script = script.replace("/testbed", str(tmp_path))
    done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"1|x\ny|c d|{tmp_path}\n"
    assert (tmp_path / "state" / "output-s").read_text() == "o=7\n"


def test_make_is_followed(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("coverage: build\n\tpython -m unittest\nbuild:\n\t@echo b\n")
    assert makefile(tmp_path / "Makefile")["coverage"] == ["echo b", "python -m unittest"]
    assert lines_with_tests("make coverage\nmake build\npip install pytest", tmp_path) == [
        "make coverage"
    ]


def test_installs_are_in_place() -> None:
    assert editable("pip install .") == "pip install -e ."
    assert editable("python -m pip install -U '.[x]'").count("-e") == 0
    assert editable("pip install -r r.txt .[x]") == "pip install -r r.txt -e .[x]"
    assert editable("pip install -e .") == "pip install -e ."
    assert editable("uv python install 3.14 && uv sync") == "true&& uv sync"


def test_errors_are_cwm_errors() -> None:
    assert issubclass(ExpressionError, CwmError)
