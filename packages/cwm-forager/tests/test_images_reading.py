"""Reading projects, histories without a future, sources, settings of indexes, reports."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cwm_core.errors import DataError, RunError
from cwm_core.plugins import registry
from cwm_forager.images.heuristic import choose_python
from cwm_forager.images.history import assert_no_future, first_commit, git, scrub
from cwm_forager.images.manifest import ImageManifest, TestRecord
from cwm_forager.images.outcomes import check_with_junit, junit_name, read_report
from cwm_forager.images.package_index import IndexAccess, access_of_this_machine
from cwm_forager.images.plan import PlanError, Surroundings
from cwm_forager.images.reading import pytest_arguments, read_project
from cwm_forager.images.source import check_out, name_of, without_credentials


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_pyproject_tells_extras_groups_and_plugins(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        """
[build-system]
requires = ["setuptools_scm"]
[project]
name = "widget"
requires-python = ">=3.9"
[project.optional-dependencies]
test = ["x"]
docs = ["sphinx"]
[dependency-groups]
dev = ["hypothesis", {include-group = "base"}]
base = ["attrs"]
[tool.pytest.ini_options]
addopts = "--cov=widget -n auto"
asyncio_mode = "auto"
"""
    )
    project = read_project(tmp_path)
    assert project.installable
    assert project.versioned_by_git
    assert project.extras == ["test"]
    assert project.requirements == ["hypothesis", "attrs"]
    assert set(project.guesses) == {"pytest-cov", "pytest-xdist", "pytest-asyncio"}


def test_tox_tells_dependencies_environment_and_arguments(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tox.ini").write_text(
        """
[testenv]
deps =
    unit: pytest-mock
    -r{toxinidir}/requirements/test.txt
setenv =
    MODE = test
commands =
    lint: ruff check
    unit: pytest -v --cov widget tests {posargs}
"""
    )
    project = read_project(tmp_path)
    assert project.requirements == ["pytest-mock"]
    assert project.files == ["requirements/test.txt"]
    assert project.environment == {"MODE": "test"}
    assert project.arguments == ["tests"]


def test_setup_py_and_imports_are_read_not_run(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text(
        "raise SystemExit('run')\nsetup(extras_require={'tests': ['a']}, tests_require=['b'])\n"
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        "import os, yaml\nfrom . import x\nimport tests\n"
    )
    project = read_project(tmp_path)
    assert (project.extras, project.requirements) == (["tests"], ["b"])
    assert project.guesses == ["pyyaml"]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("pytest", []),
        ("python -m pytest -x -q tests -m 'not slow'", ["tests", "-m", "not slow"]),
        ("coverage run -m pytest tests && coverage xml", ["tests"]),
        ("python -m unittest discover -s tests", ["tests"]),
        ("pytest --doctest-modules {env_site_packages_dir}/widget nosuch", ["--doctest-modules"]),
        ("ruff check", None),
        ("pytest 'open", None),
    ],
)
def test_test_commands_become_arguments(
    command: str, arguments: list[str] | None, tmp_path: Path
) -> None:
    (tmp_path / "tests").mkdir()
    assert pytest_arguments(command, tmp_path) == arguments


def test_a_python_that_fits_is_chosen() -> None:
    assert choose_python(">=3.9", ("3.11", "3.12")) == ("python3.11", [])
    assert choose_python(">=3.12", ("3.11", "3.12")) == ("python3.12", [])
    python, notes = choose_python(">=3.14", ("3.11",))
    assert python == "python3"
    assert notes


def test_heuristic_plans(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nname = 'w'\n[project.optional-dependencies]\ntest = ['hypothesis']\n"
    )
    surroundings = Surroundings(("3.11",), lambda: None, print)  # type: ignore[arg-type, return-value]
    strategy = registry().make("image_strategies", "heuristic").build()
    plan = asyncio.run(strategy.plan(tmp_path, surroundings))
    assert "pip install --quiet -e '.[test]'" in plan.script()
    assert plan.test_command[1:3] == ("-m", "pytest")
    subprocess.run(["bash", "-n"], input=plan.script(), text=True, check=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(PlanError):
        asyncio.run(strategy.plan(empty, surroundings))


@pytest.fixture
def history(tmp_path: Path) -> tuple[Path, list[str]]:
    """Three commits; the last one, another branch, a later tag and a stash are the future."""
    root = tmp_path / "origin"
    root.mkdir()
    (root / "a.py").write_text("x = 1\n")
    commits = [first_commit(root, "one")]
    git(root, "tag", "v1")
    for number in (2, 3):
        (root / "a.py").write_text(f"x = {number}\n")
        git(root, "commit", "-qam", str(number))
        commits.append(git(root, "rev-parse", "HEAD").strip())
    git(root, "tag", "-a", "v3", "-m", "three")
    git(root, "checkout", "-q", "-b", "other")
    (root / "a.py").write_text("x = 'fix'\n")
    git(root, "stash")
    return root, commits


def test_the_future_is_gone(history: tuple[Path, list[str]], tmp_path: Path) -> None:
    origin, commits = history
    made = check_out(str(origin), tmp_path / "out", commits[1])
    assert made.commit == commits[1]
    objects = git(made.directory, "cat-file", "--batch-all-objects", "--batch-check")
    assert commits[0] in objects
    assert commits[2] not in objects
    assert git(made.directory, "tag").split() == ["v1"]
    assert git(made.directory, "remote") == ""
    assert git(made.directory, "branch", "--format=%(refname:short)").split() == ["main"]
    assert "fix" not in git(made.directory, "log", "--all", "-p")
    assert (made.directory / "a.py").read_text() == "x = 2\n"


def test_what_is_left_of_the_future_is_found(history: tuple[Path, list[str]]) -> None:
    origin, _ = history
    with pytest.raises(DataError, match=r"stash|unreachable|reflogs|refs/"):
        assert_no_future(origin)
    scrub(origin)
    assert_no_future(origin)
    blob = git(origin, "hash-object", "-w", "--stdin", stdin="the fix\n").strip()
    with pytest.raises(DataError, match=f"unreachable objects, such as {blob}"):
        assert_no_future(origin)


def test_urls_work_and_unknown_commits_are_named(
    history: tuple[Path, list[str]], tmp_path: Path
) -> None:
    origin, commits = history
    made = check_out(f"file://{origin}", tmp_path / "out", commits[0])
    assert made.commit == commits[0]
    with pytest.raises(RunError, match="git checkout failed"):
        check_out(str(origin), tmp_path / "other", "0" * 40)


def test_sdists_get_the_same_commit_every_time(tmp_path: Path) -> None:
    write(tmp_path / "widget-1.0", a__b="x")
    with tarfile.open(tmp_path / "widget-1.0.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "widget-1.0", "widget-1.0")
    first = check_out(str(tmp_path / "widget-1.0.tar.gz"), tmp_path / "one")
    second = check_out(str(tmp_path / "widget-1.0.tar.gz"), tmp_path / "two")
    assert first.commit == second.commit
    assert first.name == "widget"
    assert (first.directory / "a" / "b").read_text() == "x"


def test_bad_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no repository"):
        check_out(str(tmp_path / "nosuch"), tmp_path / "out")
    (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be unpacked"):
        check_out(str(tmp_path / "bad.tar.gz"), tmp_path / "out")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/x/more_itertools-10.7.0.tar.gz", "more-itertools"),
        ("https://user:key@host/owner/Repo.git", "repo"),
        ("git@host:owner/repo", "repo"),
        ("/x/toolz/", "toolz"),
    ],
)
def test_names(source: str, name: str) -> None:
    assert name_of(source) == name
    assert "key" not in without_credentials(source)


def test_settings_of_pip_are_passed_with_their_files(tmp_path: Path) -> None:
    index = tmp_path / "index" / "simple"
    index.mkdir(parents=True)
    certificate = tmp_path / "ca.pem"
    certificate.write_text("x")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_EXTRA_INDEX_URL": f"file://{index} https://user:secret@host/simple",
        "PIP_CERT": str(certificate),
    }
    access = access_of_this_machine(environment)
    urls = access.environment["PIP_EXTRA_INDEX_URL"].split()
    inside = access.mounts[index.parent]
    assert urls == [f"file://{inside}/simple", "https://user:secret@host/simple"]
    assert access.environment["PIP_CERT"] == access.mounts[certificate]
    assert access.environment["PIP_NO_CACHE_DIR"] == "1"


def test_credentials_do_not_reach_the_log() -> None:
    text = IndexAccess().redacted("Looking in https://user:secret@host/simple")
    assert text == "Looking in https://***@host/simple"


def line(kind: str, token: str = "t", **fields: Any) -> bytes:
    return json.dumps({"token": token, "kind": kind, **fields}).encode() + b"\n"


def test_reports_need_the_token_and_make_sense() -> None:
    data = line("configured") + line("collected", ids=["a::t", "a::u"])
    data += line("end", "forged", id="a::x", outcome="passed", seconds=0)
    data += line("end", id="a::t", outcome="wonderful", seconds=0.1) + b"\xff{\n"
    data += line("start", id="a::u")
    report = read_report(data, "t")
    assert report.tests == {"a::t": "error"}
    assert (report.running, report.finished) == ("a::u", False)


def test_a_pass_that_pytest_does_not_confirm_is_none() -> None:
    names = ["t/a.py::T::t[x-1]", "t/a.py::u", "t/a.py::v"]
    data = b"".join(line("end", id=name, outcome="passed", seconds=0) for name in names)
    report = read_report(data, "t")
    xml = (
        b'<testsuites><testsuite><testcase classname="t.a.T" name="t[x-1]"/>'
        b'<testcase classname="t.a" name="u"><failure/></testcase></testsuite></testsuites>'
    )
    assert junit_name(names[0]) == ("t.a.T", "t[x-1]")
    assert check_with_junit(report, xml) == names[1:]
    assert report.tests == {names[0]: "passed", names[1]: "error", names[2]: "error"}


def manifest(**more: Any) -> ImageManifest:
    values = {
        "name": "w", "source": "w.tar.gz", "commit": "0" * 40, "image": "i:1", "image_id": "x",
        "base": "b", "base_id": "y", "strategy": "heuristic", "script": "true",
        "test_command": ("python", "-m", "pytest"),
        "tests": {
            "a": TestRecord(outcomes=("passed", "passed")),
            "b": TestRecord(outcomes=("passed", "failed")),
            "c": TestRecord(outcomes=("skipped", "skipped")),
        },
    }  # fmt: skip
    return ImageManifest.model_validate(values | more)


def test_manifests_mark_flaky_tests_and_survive(tmp_path: Path) -> None:
    made = manifest()
    assert (made.reliable, made.flaky, made.runs) == (("a",), ("b",), 2)
    assert made.counts() == {"flaky": 1, "passed": 1, "skipped": 1}
    made.write(tmp_path)
    assert ImageManifest.read(tmp_path) == made


def test_digests_leave_out_what_varies() -> None:
    assert manifest().digest() == manifest(build_s=3.0, image_id="z", size_bytes=9).digest()
    assert manifest().digest() != manifest(script="false").digest()


def test_missing_and_damaged_manifests_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the manifest"):
        ImageManifest.read(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="is no manifest"):
        ImageManifest.read(tmp_path)
