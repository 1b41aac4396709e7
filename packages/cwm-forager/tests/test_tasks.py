"""Instances: published formats exactly, patches, logs, statements, history, validation."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from forager_repository import BUG, FILES, FIX, libraries, local_sandbox, shapes_instance
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_core.env.concurrency import run_sync
from cwm_core.env.environment import Task
from cwm_core.errors import DataError
from cwm_core.sandbox import bubblewrap
from cwm_forager.images.manifest import ImageManifest
from cwm_forager.tasks.formats import file_diff, read_format, swe_bench
from cwm_forager.tasks.formats import test_ids as read_ids
from cwm_forager.tasks.instance import instance_of, read_instances, write_instances
from cwm_forager.tasks.logs import parse_log, status_changes
from cwm_forager.tasks.mirror import history, measured
from cwm_forager.tasks.patches import (
    file_patches,
    is_config_file,
    is_test_file,
    mean_similarity,
    reverse_patch,
    split_tests,
    touched,
)
from cwm_forager.tasks.statements import given_away, template_statement
from cwm_forager.tasks.validate import validate

needs_bubblewrap = pytest.mark.skipif(
    bubblewrap.why_not() is not None, reason=f"no isolation here: {bubblewrap.why_not()}"
)
RECORD: dict[str, Any] = {
    "repo": "acme/shapes",
    "instance_id": "acme__shapes-12",
    "base_commit": "a" * 40,
    "patch": FIX,
    "test_patch": file_diff("tests/test_shapes.py", "a\n", "b\n"),
    "problem_statement": "It is wrong.",
    "hints_text": "Look.",
    "created_at": "2024-01-01T00:00:00Z",
    "version": "1.0",
    "FAIL_TO_PASS": '["tests/test_shapes.py::test_area"]',
    "PASS_TO_PASS": ["tests/test_shapes.py::test_around"],
    "environment_setup_commit": "b" * 40,
    "difficulty": "<15 min fix",
}


def git(*arguments: str, cwd: Path, stdin: str = "") -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=cwd, input=stdin, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Formats


def test_ids_come_as_list_or_as_json_text() -> None:
    assert read_ids('["a", "b", "a"]', "x") == read_ids(["a", "b"], "x") == ("a", "b")
    for wrong in ("[1]", "no list", '{"a": 1}', 3, None):
        with pytest.raises(DataError):
            read_ids(wrong, "x")


def test_swe_bench() -> None:
    instance = swe_bench(RECORD)
    assert instance.fail_to_pass == ("tests/test_shapes.py::test_area",)
    assert instance.image == "swebench/sweb.eval.x86_64.acme_1776_shapes-12:latest"
    assert instance.metadata["difficulty"] == "<15 min fix"
    assert instance.metadata["version"] == "1.0"
    assert (instance.gold_patch, instance.test_patch) == (FIX, RECORD["test_patch"])
    assert instance.runner == "pytest"
    assert swe_bench({**RECORD, "image": "mine:1"}).image == "mine:1"


def test_suites_that_are_no_pytest_suites_are_read_from_logs() -> None:
    ids = ["test_a (app.tests.ATest)"]
    record = {**RECORD, "repo": "django/django", "FAIL_TO_PASS": ids, "PASS_TO_PASS": []}
    record["test_patch"] = file_diff("tests/app/tests.py", "a\n", "b\n")
    instance = swe_bench(record)
    assert (instance.runner, instance.log_parser) == ("log", "django")
    assert "runtests.py" in instance.eval_script
    assert instance.eval_script.endswith(" app.tests")
    given = swe_bench({**record, "eval_script": "make test", "log_parser": "unittest"})
    assert (given.eval_script, given.log_parser) == ("make test", "unittest")


def test_swe_gym_has_images_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "gym.jsonl"
    path.write_text(json.dumps(RECORD) + "\n\n")
    (instance,) = read_format(path, "swe-gym")
    assert instance.image == "xingyaoww/sweb.eval.x86_64.acme_s_shapes-12:latest"


def test_swe_smith_is_repaired_by_the_reverse(shared_data: Path) -> None:
    path = shared_data / "swesmith_instance_pandas_pr_53652.json"
    (instance,) = read_format(path, "swe-smith")
    assert len(instance.fail_to_pass) == 2
    assert instance.setup_patch.count("\n-") == instance.gold_patch.count("\n+")
    report = json.loads((shared_data / "swesmith_validation_report.json").read_text())
    assert set(instance.fail_to_pass) == set(report["FAIL_TO_PASS"])
    assert mean_similarity(instance.gold_patch, instance.gold_patch) == 1.0


def test_r2e_gym() -> None:
    commit = {
        "file_diffs": [
            {
                "header": {"file": {"path": "shapes/__init__.py"}},
                "old_file_content": "a = 1\n",
                "new_file_content": "a = 2\n",
            },
            {
                "header": {"file": {"path": "tests/test_a.py"}},
                "old_file_content": "",
                "new_file_content": "b",
            },
        ]
    }
    log = "PASSED r2e_tests/test_1.py::TestA::test_old\n"
    log += "FAILED r2e_tests/test_1.py::TestA::test_new - x"
    record = {
        "repo_name": "shapes",
        "docker_image": "images/shapes:1",
        "commit_hash": "abc",
        "problem_statement": "wrong",
        "parsed_commit_content": json.dumps(commit),
        "execution_result_content": json.dumps({"old_commit_res_stdout": log}),
        "expected_output_json": json.dumps(
            {"TestA.test_old": "PASSED", "TestA.test_new": "PASSED", "TestA.test_no": "FAILED"}
        ),
    }
    from cwm_forager.tasks.formats import r2e_gym

    instance = r2e_gym(record)
    assert instance.fail_to_pass == ("TestA.test_new",)
    assert instance.pass_to_pass == ("TestA.test_old",)
    assert touched(instance.gold_patch) == ["shapes/__init__.py"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSON"),
        (json.dumps({**RECORD, "FAIL_TO_PASS": "["}), "FAIL_TO_PASS"),
        (json.dumps({"repo": "x"}), "instance_id"),
    ],
)
def test_bad_records_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        list(read_format(path, "swe-bench"))


def test_instances_survive_files_and_tasks(tmp_path: Path) -> None:
    instance = shapes_instance(tmp_path)
    write_instances(tmp_path / "tasks.jsonl", [instance])
    assert list(read_instances(tmp_path / "tasks.jsonl")) == [instance]
    assert instance_of(instance.task()) == instance
    with pytest.raises(DataError, match="no instance"):
        instance_of(Task("x", {"id": 3}))
    (tmp_path / "twice.jsonl").write_text((tmp_path / "tasks.jsonl").read_text() * 2)
    with pytest.raises(DataError, match="line 2 repeats"):
        list(read_instances(tmp_path / "twice.jsonl"))


# Patches

lines = st.lists(st.sampled_from(["a", "b", "c", "", "+x", "-y", "é", "@@"]), max_size=12)
texts = st.tuples(lines, st.booleans()).map(lambda t: "\n".join(t[0]) + ("\n" if t[1] else ""))


@settings(max_examples=15, deadline=None)
@given(texts, texts)
def test_git_applies_diffs_and_their_reverse(old: str, new: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        git("init", "-q", cwd=root)
        diff = file_diff("f.txt", old, new)
        assert bool(diff) == (old != new)
        if not diff:
            return
        if old:
            (root / "f.txt").write_bytes(old.encode())
        git("apply", "-", cwd=root, stdin=diff)
        assert ((root / "f.txt").read_bytes().decode() if new else "") == new
        git("apply", "-", cwd=root, stdin=reverse_patch(diff))
        assert ((root / "f.txt").read_bytes().decode() if old else "") == old


def test_paths_are_those_of_git(tmp_path: Path) -> None:
    git("init", "-q", cwd=tmp_path)
    names = ["a b.py", "tests/é.py", 'qu"ote.py', "plain.py", "gone.py", "old name.py"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"content of {name}\n" * 5)
    git("add", "-A", cwd=tmp_path)
    git("commit", "-qm", "x", cwd=tmp_path)
    for name in names[:4]:
        (tmp_path / name).write_text("else\n")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "old name.py").rename(tmp_path / "new name.py")
    (tmp_path / "empty").touch()
    (tmp_path / "plain.py").chmod(0o755)
    git("add", "-A", cwd=tmp_path)
    patch = git("diff", "--cached", "-M", "HEAD", cwd=tmp_path)
    changed = git("diff", "--cached", "-M", "--name-only", "-z", "HEAD", cwd=tmp_path)
    assert sorted(touched(patch)) == sorted(changed.split("\0")[:-1])
    assert "".join(part.text for part in file_patches(patch)) == patch
    code, tests = split_tests(patch)
    assert touched(tests) == ["tests/é.py"]
    assert sorted(touched(code)) == sorted(set(touched(patch)) - {"tests/é.py"})


def test_what_is_no_diff_is_refused() -> None:
    with pytest.raises(DataError):
        touched("hello")
    assert touched("") == []


@pytest.mark.parametrize(
    ("path", "test", "config"),
    [
        ("src/shapes.py", False, False),
        ("tests/data/x.json", True, False),
        ("pkg/test_a.py", True, False),
        ("pkg/a_test.py", True, False),
        ("pkg/tests.py", True, False),
        ("pkg/contest.py", False, False),
        ("pkg/latest.py", False, False),
        ("conftest.py", True, True),
        ("setup.cfg", False, True),
        ("a/b/pyproject.toml", False, True),
        (".venv/lib/x.py", False, True),
        ("x.pth", False, True),
        ("lib/x.so", False, True),
        ("shapes-1.dist-info/entry_points.txt", False, True),
        (".git/config", False, True),
    ],
)
def test_tests_and_configuration_are_recognised(path: str, test: bool, config: bool) -> None:
    assert (is_test_file(path), is_config_file(path)) == (test, config)


def test_similarity_counts_the_oracles_files() -> None:
    other = file_diff("other.py", "a\n", "b\n")
    assert mean_similarity(FIX + other, FIX) == 1.0
    assert mean_similarity(other, FIX) == 0.0
    assert mean_similarity("no diff", FIX) == 0.0
    assert mean_similarity(FIX, "") is None
    half = mean_similarity(FIX, FIX + other)
    assert half == 0.5
    assert 0 < (mean_similarity(BUG, FIX) or 0) < 1


# Logs


def test_a_real_pytest_log(shared_data: Path) -> None:
    log = (shared_data / "swesmith_test_output_django-money.txt").read_text()
    statuses = parse_log(log)
    counts = {status: list(statuses.values()).count(status) for status in set(statuses.values())}
    assert counts["FAILED"] == 9
    assert counts["PASSED"] == 420
    assert counts["SKIPPED"] == 1  # the other is a whole module
    assert statuses["tests/test_money.py::test_keep_decimal_places[<lambda>12-1]"] == "FAILED"


def test_a_validation_report_from_real_output(shared_data: Path) -> None:
    """The nine tests that fail in a real log are what a repair would be told to mend."""
    log = (shared_data / "swesmith_test_output_django-money.txt").read_text()
    repaired = re.sub(r"^(\S.*::.*) FAILED( +\[)", r"\1 PASSED\2", log, flags=re.MULTILINE)
    before, after = parse_log(log), parse_log(repaired)
    report = status_changes(before, after)
    published = json.loads((shared_data / "swesmith_validation_report.json").read_text())
    assert report.keys() == published.keys()
    assert report["FAIL_TO_PASS"] == [t for t, status in before.items() if status == "FAILED"]
    assert [len(tests) for tests in report.values()] == [9, 420, 0, 0]
    assert not set(report["FAIL_TO_PASS"]) & set(report["PASS_TO_PASS"])
    assert status_changes(after, before)["PASS_TO_FAIL"] == report["FAIL_TO_PASS"]
    assert len(status_changes(before, before)["FAIL_TO_FAIL"]) == 9


def test_the_published_validation_report_from_logs_of_its_form(shared_data: Path) -> None:
    """The logs themselves are not in the data: these are written from the report's instance."""
    published = json.loads((shared_data / "swesmith_validation_report.json").read_text())
    path = shared_data / "swesmith_instance_pandas_pr_53652.json"
    (instance,) = read_format(path, "swe-smith")
    assert set(instance.pass_to_pass) == set(published["PASS_TO_PASS"])
    tests = [*published["PASS_TO_PASS"], *published["FAIL_TO_PASS"]]
    failing = set(instance.fail_to_pass)

    def log(bug: bool) -> str:
        words = ("FAILED" if bug and test in failing else "PASSED" for test in tests)
        lines = [f"{test} {word}" for test, word in zip(tests, words, strict=True)]
        marks = "+ : '>>>>> Start Test Output'\n{}\n+ : '>>>>> End Test Output'\n"
        return "x.py::outside PASSED\n" + marks.format("\n".join(lines))

    assert status_changes(parse_log(log(True)), parse_log(log(False))) == published


def test_tests_that_one_log_lacks() -> None:
    before = {"a::gone": "FAILED", "a::lost": "PASSED", "a::odd": "ERROR", "a::left": "SKIPPED"}
    after = {"a::new": "PASSED", "a::worse": "FAILED", "a::odd": "PASSED", "a::left": "SKIPPED"}
    assert status_changes(before, after) == {
        "FAIL_TO_PASS": ["a::new", "a::gone"],
        "PASS_TO_PASS": [],
        "FAIL_TO_FAIL": [],
        "PASS_TO_FAIL": ["a::worse"],
    }


def test_other_logs() -> None:
    unittest = (
        "test_a (app.tests.ATest) ... ok\ntest_b (app.tests.ATest)\nIt does something. ... FAIL\n"
        "test_c (app.tests.ATest) ... some output\nok\ntest_d (app.tests.ATest) ... skipped 'no'\n"
        "test_e (app.tests.ATest) ... expected failure\n"
    )
    assert parse_log(unittest, "django") == {
        "test_a (app.tests.ATest)": "PASSED",
        "test_b (app.tests.ATest)": "FAILED",
        "test_c (app.tests.ATest)": "PASSED",
        "test_d (app.tests.ATest)": "SKIPPED",
        "test_e (app.tests.ATest)": "XFAIL",
    }
    assert parse_log("test_x ok\ntest_y F\n", "sympy") == {"test_x": "PASSED", "test_y": "FAILED"}
    assert parse_log("\x1b[32mPASSED\x1b[0m a.py::A::t", "r2e") == {"A.t": "PASSED"}
    with pytest.raises(DataError, match="no log parser"):
        parse_log("", "nose")


def test_only_what_lies_between_the_markers_counts() -> None:
    log = "a.py::t PASSED\n>>>>> Start Test Output\na.py::t FAILED\n>>>>> End Test Output\n"
    assert parse_log(log) == {"a.py::t": "FAILED"}


@given(st.text(max_size=300))
def test_any_log_is_fine(log: str) -> None:
    for parser in ("pytest", "unittest", "sympy", "r2e"):
        parse_log(log, parser)


# Statements


def test_statements_give_nothing_away(tmp_path: Path) -> None:
    instance = shapes_instance(tmp_path)
    text = template_statement(instance, "AssertionError")
    assert instance.fail_to_pass[0] in text
    assert given_away(text, instance) == ""
    assert "quotes" in given_away("It should `return width  *  height`.", instance)
    assert "patch" in given_away(f"Here:\n{FIX}", instance)


# History and validation


def commit_all(root: Path, message: str) -> None:
    git("add", "-A", cwd=root)
    git("commit", "-qm", message, cwd=root)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "shapes"
    root.mkdir()
    git("init", "-q", cwd=root)
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    commit_all(root, "Start")
    (root / "README.md").write_text("More.\n")
    commit_all(root, "Docs only")
    module, tests = root / "shapes/__init__.py", root / "tests/test_shapes.py"
    module.write_text(module.read_text() + "\n\ndef cube(side):\n    return side**3\n")
    tests.write_text(tests.read_text() + "\n\ndef test_cube():\n    assert shapes.cube(3) == 27\n")
    commit_all(root, "Cubes are missing")
    return root


@needs_bubblewrap
def test_history_gives_sound_tasks(repository: Path, tmp_path: Path) -> None:
    (candidate,) = history(repository, archives=tmp_path / "archives", python="python3")
    assert candidate.problem_statement == "Cubes are missing"
    assert touched(candidate.test_patch) == ["tests/test_shapes.py"]
    place = {"PYTHONPATH": str(libraries()), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    candidate = candidate.model_copy(update={"environment": place})
    found = run_sync(measured(local_sandbox(), candidate))
    assert found is not None
    assert found.fail_to_pass == ("tests/test_shapes.py::test_cube",)
    assert len(found.pass_to_pass) == 5
    result = run_sync(validate(local_sandbox(), found, search_copies=False))
    assert (result.valid, result.reason) == (True, "")


def merged(root: Path) -> None:
    """Add a pull request whose merge brings a repair, and one whose tests pass without it."""
    module, tests = root / "shapes/__init__.py", root / "tests/test_shapes.py"
    for name, code, test in (
        ("half", "def half(side):\n    return side / 2\n", "assert shapes.half(4) == 2"),
        ("idle", "IDLE = 1\n", "assert True"),
    ):
        git("checkout", "-qb", name, cwd=root)
        module.write_text(f"{module.read_text()}\n\n{code}")
        commit_all(root, f"Add {name}")
        tests.write_text(f"{tests.read_text()}\n\ndef test_{name}():\n    {test}\n")
        commit_all(root, f"Test {name}")
        git("checkout", "-q", "-", cwd=root)
        git("merge", "-q", "--no-ff", name, "-m", f"Merge {name}: it was missing", cwd=root)


@needs_bubblewrap
def test_from_merges_to_validated_tasks(repository: Path, tmp_path: Path, cwm_cli: Any) -> None:
    merged(repository)
    made = cwm_cli(
        *["forage", "tasks", str(repository), "tasks.jsonl", "format=history", "python=python3"],
        *["limit=2", f"environment.PYTHONPATH={libraries()}"],
        "environment.PYTEST_DISABLE_PLUGIN_AUTOLOAD='1'",
    )
    assert made.returncode == 0, made.stderr
    assert [each.tests for each in read_instances(tmp_path / "tasks.jsonl")] == [(), ()]
    line = ["forage", "validate", "tasks.jsonl", "valid", "sandbox=local", "search_copies=false"]
    done = cwm_cli(*line, f"sandbox.read_only=[{libraries()}]")
    assert done.returncode == 0, done.stderr
    assert "1 of 2 tasks are sound" in done.stdout
    assert "no test that it changes is repaired by it" in done.stdout
    (sound,) = read_instances(tmp_path / "valid/tasks.jsonl")
    assert sound.fail_to_pass == ("tests/test_shapes.py::test_half",)
    assert "tests/test_shapes.py::test_cube" in sound.pass_to_pass
    assert sound.problem_statement == "Merge half: it was missing"


def test_history_in_an_image(repository: Path, tmp_path: Path) -> None:
    """The image holds one commit; a patch leads from there to the parent of each candidate."""
    head = git("rev-parse", "HEAD", cwd=repository).strip()
    manifest = ImageManifest(
        name="shapes", source="shapes", commit=head, image="shapes:1", image_id="x", base="b",
        base_id="y", strategy="heuristic", script="", test_command=("/opt/venv/bin/python", "-m"),
        environment={"A": "1"},
    )  # fmt: skip
    (candidate,) = history(repository, manifest=manifest, environment={"B": "2"})
    assert (candidate.image, candidate.root) == ("shapes:1", manifest.workdir)
    assert candidate.environment == {"A": "1", "B": "2"}
    apply = ["git", "apply", "-"]
    for patch in (candidate.setup_patch, candidate.test_patch, candidate.gold_patch):
        subprocess.run(apply, input=patch, text=True, cwd=repository, check=True)
    assert git("status", "--porcelain", cwd=repository) == ""


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="history"):
        list(history(tmp_path / "absent"))


@needs_bubblewrap
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gold_patch": file_diff("shapes/colors.py", "RED = 'red'\n", "RED = 1\n")}, "instance"),
        ({"setup_patch": ""}, "does not apply|not as the instance"),
        ({"fail_to_pass": ()}, "names no"),
        ({"archive": "/absent.tar"}, "archive"),
        ({"python": "python3 -c 'import sys; sys.exit(3)' #"}, "no test runs"),
    ],
)
def test_unsound_tasks_are_told_apart(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    import re

    instance = shapes_instance(tmp_path, **changes)
    result = run_sync(validate(local_sandbox(), instance, search_copies=False))
    assert not result.valid
    assert re.search(said, result.reason), result.reason


@needs_bubblewrap
def test_a_copy_of_the_repair_in_the_sandbox_is_found(tmp_path: Path) -> None:
    from cwm_core.sandbox.config import LocalSandboxConfig

    copy = tmp_path / "site/shapes"
    copy.mkdir(parents=True)
    (copy / "__init__.py").write_text(FILES["shapes/__init__.py"])
    config = LocalSandboxConfig(name="local", read_only=(libraries(), tmp_path / "site"))
    result = run_sync(validate(config, shapes_instance(tmp_path)))
    assert "also lies in" in result.reason
