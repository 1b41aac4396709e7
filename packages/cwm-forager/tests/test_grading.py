"""Grading: only the patch crosses over, and no trick makes it a repair."""

from __future__ import annotations

from pathlib import Path

import pytest
from forager_repository import (
    BROKEN,
    FAIL,
    FILES,
    FIX,
    MODULE,
    PASS,
    local_sandbox,
    shapes_instance,
)

from cwm_core.env.concurrency import run_sync
from cwm_core.env.rollout import rollout
from cwm_core.errors import ConfigError
from cwm_core.sandbox import bubblewrap
from cwm_forager.agent.fixed import NoOpAgent, OracleAgent
from cwm_forager.agent.tricks import PATCH_RUNTEST, TRICKS, CheatingAgent
from cwm_forager.grading.grade import grade
from cwm_forager.grading.reproduction import grade_script
from cwm_forager.grading.suspicion import suspicions
from cwm_forager.grading.verdict import Result, Verdict
from cwm_forager.swe.config import SweConfig
from cwm_forager.tasks.formats import file_diff
from cwm_forager.tasks.instance import Instance, write_instances

pytestmark = pytest.mark.skipif(
    bubblewrap.why_not() is not None, reason=f"no isolation here: {bubblewrap.why_not()}"
)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return shapes_instance(tmp_path)


def judged(instance: Instance, patch: str) -> Verdict:
    return run_sync(grade(local_sandbox(), instance, patch))


def test_a_repair_is_one(instance: Instance) -> None:
    verdict = judged(instance, FIX)
    assert (verdict.result, verdict.reason) == (Result.RESOLVED, "")
    assert verdict.outcomes == dict.fromkeys((*FAIL, *PASS), "passed")
    assert verdict.control == dict.fromkeys(FAIL, "failed")
    assert not verdict.forgeable


def test_what_is_no_repair(instance: Instance) -> None:
    other = file_diff("shapes/colors.py", FILES["shapes/colors.py"], "RED = 'blue'\n")
    assert judged(instance, "").result is Result.EMPTY
    assert judged(instance, "hello").result is Result.NOT_APPLICABLE
    assert judged(instance, file_diff("absent.py", "a\n", "b\n")).result is Result.NOT_APPLICABLE
    assert judged(instance, other).result is Result.TESTS_FAILED
    verdict = judged(instance, FIX.replace("+    return width * height", "+    return width *"))
    assert verdict.result is Result.TESTS_FAILED
    assert set(verdict.outcomes.values()) == {"missing"}


def test_tests_come_from_the_task(instance: Instance) -> None:
    """A repair that also spoils the tests is judged by the task's own."""
    tests = FILES["tests/test_shapes.py"]
    spoilt = file_diff("tests/test_shapes.py", tests, "def test_area():\n    assert False\n")
    added = file_diff("conftest.py", "", "raise SystemExit\n")
    verdict = judged(instance, FIX + spoilt + added)
    assert verdict.resolved
    assert verdict.dropped == ("conftest.py", "tests/test_shapes.py")
    assert judged(instance, spoilt).result is Result.EMPTY


def test_new_files_of_the_source_cross(instance: Instance) -> None:
    moved = BROKEN.replace("    return width + height", "    return times(width, height)", 1)
    moved = moved.replace('"""Shapes."""\n', '"""Shapes."""\n\nfrom shapes.product import times\n')
    patch = file_diff("shapes/__init__.py", BROKEN, moved)
    patch += file_diff("shapes/product.py", "", "def times(a, b):\n    return a * b\n")
    assert judged(instance, patch).resolved


def test_tests_of_the_task_are_brought(tmp_path: Path) -> None:
    tests = FILES["tests/test_shapes.py"]
    added = tests + "\n\ndef test_big():\n    assert shapes.area(20, 30) == 600\n"
    test_patch = file_diff("tests/test_shapes.py", tests, added)
    fail = ("tests/test_shapes.py::test_big",)
    instance = shapes_instance(tmp_path, test_patch=test_patch, fail_to_pass=fail)
    assert judged(instance, FIX).outcomes[fail[0]] == "passed"


def test_hanging_tests_end(tmp_path: Path) -> None:
    instance = shapes_instance(tmp_path, timeout_s=3.0)
    hanging = MODULE.replace("    return width * height", "    while True:\n        pass")
    verdict = judged(instance, file_diff("shapes/__init__.py", BROKEN, hanging))
    assert verdict.result is Result.TIMEOUT


def test_log_graded_suites_are_marked_as_forgeable(tmp_path: Path) -> None:
    instance = shapes_instance(
        tmp_path,
        runner="log",
        eval_script="PYTHONPATH=$PYTHONPATH:. python3 -m pytest -p no:cacheprovider -rA tests",
    )
    verdict = judged(instance, FIX)
    assert (verdict.resolved, verdict.forgeable) == (True, True)


WORKING = {
    "patch_runtest": "machinery changed",
    "register_plugin": "although it must fail",
    "always_equal": "equal to everything",
}
"""Tricks that make all tests pass, and how they are found out."""
CHOSEN = [*WORKING, "empty_tests", "exit_late", "forged_descriptors", "rewrite_tests", "addopts"]


@pytest.mark.parametrize("trick", CHOSEN)
def test_tricks_are_not_rewarded(trick: str, tmp_path: Path) -> None:
    """A choice; `tools/bench/cheating.py` plays all of them over many tasks."""
    write_instances(tmp_path / "tasks.jsonl", [shapes_instance(tmp_path)])
    config = SweConfig(name="swe", tasks=tmp_path / "tasks.jsonl", sandbox=local_sandbox())
    environment = config.build()
    (task,) = environment.tasks("train")
    agent = CheatingAgent(trick).for_task(task)
    played = run_sync(rollout(environment, task, agent))
    assert played.outcome["exit"] == "answered", played.outcome
    assert played.rewards == {"environment": -1.0}
    verdict = played.outcome["verdict"]
    assert verdict["result"] != "resolved"
    if trick in WORKING:
        assert {verdict["outcomes"][test] for test in FAIL} == {"passed"}
        assert WORKING[trick] in verdict["reason"]


def test_there_are_many_tricks() -> None:
    assert len(TRICKS) >= 30
    with pytest.raises(ConfigError, match="no trick"):
        CheatingAgent("unknown")


def test_oracle_and_no_op(tmp_path: Path) -> None:
    write_instances(tmp_path / "tasks.jsonl", [shapes_instance(tmp_path)])
    config = SweConfig(name="swe", tasks=tmp_path / "tasks.jsonl", sandbox=local_sandbox())
    environment = config.build()
    (task,) = environment.tasks("train")
    oracle = run_sync(rollout(environment, task, OracleAgent().for_task(task)))
    assert oracle.rewards == {"environment": 1.0}
    assert oracle.outcome["similarity"] == 1.0
    idle = run_sync(rollout(environment, task, NoOpAgent()))
    assert idle.rewards == {"environment": -1.0}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import pytest", ["import pytest"]),
        ("import sys\nsys._getframe()", ["_getframe"]),
        ("x = 'see _pytest'", ["the text '_pytest'"]),
        ('"""About pytest."""\nx = 1', []),
        ("x = (", []),
    ],
)
def test_suspicions(code: str, found: list[str]) -> None:
    assert suspicions("", code) == found
    assert suspicions(code, code) == []


def test_suspicious_source_is_refused(instance: Instance) -> None:
    plain = PATCH_RUNTEST.replace('"_py" + "test.python"', '"_pytest.python"')
    patch = file_diff("shapes/__init__.py", BROKEN, BROKEN + plain)
    assert judged(instance, patch).result is Result.SUSPICIOUS


def test_reproductions(instance: Instance) -> None:
    script = (
        "import shapes\n"
        "print('Issue resolved' if shapes.area(2, 5) == 10 else 'Issue reproduced')\n"
    )
    good = run_sync(grade_script(local_sandbox(), instance, script))
    assert (good.resolved, good.outcomes) == (True, {"before": "reproduced", "after": "resolved"})
    always = "print('Issue reproduced')  # Issue resolved\n"
    assert run_sync(grade_script(local_sandbox(), instance, always)).outcomes["after"] != "resolved"
    for bad in (
        "print('hello')",
        "Issue reproduced Issue resolved (",
        always + "print('Other issues')",
    ):
        assert not run_sync(grade_script(local_sandbox(), instance, bad)).resolved
