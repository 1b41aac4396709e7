"""Judges a patch: a fresh sandbox, only the patch crosses over, a report that cannot be forged.

1. The repository is set up as the agent found it. The patch is applied by git, through the index,
   so that git itself says what it touched; tests, configuration, links and modules that would
   shadow others are taken back. Then come the tests of the task.
2. `inside/runner.py` runs the tests in child processes and reports under a nonce that only it and
   this process know. It watches interpreter, libraries, tests and configuration for changes, and
   the child watches pytest and the built-ins.
3. Where all pass, the failing tests of the task run again with bodies that must fail. Tests that
   still pass are decided by something other than the tests.
"""

from __future__ import annotations

import json
import secrets
import shlex
import time
from dataclasses import replace
from importlib import resources
from typing import Any

from cwm_core.components import ComponentConfig
from cwm_core.sandbox.base import Sandbox
from cwm_forager.grading.crossing import cross
from cwm_forager.grading.verdict import Result, Verdict
from cwm_forager.tasks.instance import Instance
from cwm_forager.tasks.logs import parse_log
from cwm_forager.tasks.patches import CONFIG_NAMES, is_config_file, is_test_file
from cwm_forager.tasks.place import apply_patch, command, git_apply, open_repository, reason

_MARGIN_S = 60.0
_BLAMED = 5


async def grade(config: ComponentConfig, instance: Instance, patch: str) -> Verdict:
    """Judge a patch in a new sandbox of `config`.

    Raises:
        SandboxError: the sandbox failed; nothing is known about the patch then.
        DataError: the instance itself is broken.
    """
    started = time.monotonic()
    if not patch.strip():
        return Verdict(Result.EMPTY, "the patch is empty")
    sandbox = await open_repository(config, instance)
    try:
        verdict = await _judge(sandbox, instance, patch)
    finally:
        await sandbox.close()
    return replace(verdict, duration_s=time.monotonic() - started)


async def run_tests(config: ComponentConfig, instance: Instance, patch: str) -> Verdict:
    """Run all tests of an instance with a trusted patch (or none), without judging it."""
    sandbox = await open_repository(config, instance)
    try:
        if patch:
            await apply_patch(sandbox, instance, patch)
        report = await _report(sandbox, instance, {"control_if": list(instance.fail_to_pass)})
    finally:
        await sandbox.close()
    return _from_report(instance, report, ())


async def observe(
    config: ComponentConfig, instance: Instance, files: list[str], patch: str
) -> dict[str, str]:
    """Return the outcome of every test in some files, with the task's tests and a trusted patch."""
    sandbox = await open_repository(config, instance)
    try:
        if patch:
            await apply_patch(sandbox, instance, patch)
        only = {"tests": files, "control": [], "control_if": []}
        report = await _report(sandbox, instance, only)
    finally:
        await sandbox.close()
    return dict(report.get("outcomes", {}))


async def _judge(sandbox: Sandbox, instance: Instance, patch: str) -> Verdict:
    applied = await git_apply(sandbox, instance, patch, "--index")
    if applied.exit_code != 0:
        return Verdict(Result.NOT_APPLICABLE, reason(applied))
    crossed = await cross(sandbox, instance)
    if not crossed.kept:
        why = "it changes nothing but tests and configuration" if crossed.dropped else "it is empty"
        return Verdict(Result.EMPTY, why, dropped=crossed.dropped)
    if crossed.suspicions:
        why = f"{crossed.suspicions[0]} in {crossed.kept[0]}"
        return Verdict(Result.SUSPICIOUS, why, dropped=crossed.dropped)
    report = await _report(sandbox, instance)
    return _from_report(instance, report, crossed.dropped)


async def _report(
    sandbox: Sandbox, instance: Instance, changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Run tests; with `changes` to the orders all of them, else up to the first failure."""
    if instance.test_patch:
        await apply_patch(sandbox, instance, instance.test_patch)
    if instance.runner == "log":
        return await _logged(sandbox, instance)
    nonce = secrets.token_hex(16)
    orders = {**await _orders(sandbox, instance), "nonce": nonce}
    if changes is not None:
        orders |= {"fail_fast": False, **changes}
    runner = _source("runner.py")
    result = await sandbox.exec(
        [*shlex.split(instance.python), "-I", "-B", "-c", runner],
        2 * instance.timeout_s + _MARGIN_S,
        cwd=instance.root,
        env=instance.environment,
        stdin=json.dumps(orders).encode(),
    )
    report = _find(result.stdout, nonce)
    if report is None:
        text = (result.stdout + result.stderr).decode("utf-8", "backslashreplace")
        return {"no_report": True, "output": text[-4000:], "timed_out": result.timed_out}
    return report


def _in_order(instance: Instance) -> list[str]:
    """Put the files with failing tests first: most patches that are no repair fail there."""
    failing = {test.split("::")[0] for test in instance.fail_to_pass}
    return sorted(instance.tests, key=lambda test: test.split("::")[0] not in failing)


def _controlled(instance: Instance) -> list[str]:
    exempt = set(instance.metadata.get("control_exempt", ()))
    return [test for test in instance.fail_to_pass if test not in exempt]


async def _orders(sandbox: Sandbox, instance: Instance) -> dict[str, Any]:
    listed = await command(
        sandbox,
        instance,
        'git ls-files -z -co --exclude-standard; printf "\\0\\0"; pwd -P',
    )
    names, _, rest = listed.stdout.partition(b"\0\0\0")
    root = rest.decode().rstrip("\n")
    files = [name.decode("utf-8", "surrogateescape") for name in names.split(b"\0") if name]
    guarded = [name for name in files if is_test_file(name) or is_config_file(name)]
    paths = instance.environment.get("PYTHONPATH", "").split(":")
    return {
        "root": root,
        "args": list(instance.pytest_args),
        "paths": [path if path.startswith("/") else f"{root}/{path}" for path in paths if path]
        + [root],
        "environment": {"PYTHONDONTWRITEBYTECODE": "1"},
        "guarded_names": sorted(CONFIG_NAMES),
        "guarded_files": guarded,
        "tests": _in_order(instance),
        "fail_fast": True,
        "control": _controlled(instance),
        "control_if": list(instance.tests),
        "child": _source("child.py"),
        "deadline": instance.timeout_s,
    }


def _source(name: str) -> str:
    return (resources.files("cwm_forager.grading.inside") / name).read_text(encoding="utf-8")


def _find(output: bytes, nonce: str) -> dict[str, Any] | None:
    for line in reversed(output.split(b"\n")):
        if line.startswith(nonce.encode() + b" "):
            report: dict[str, Any] = json.loads(line[len(nonce) + 1 :].decode("utf-8"))
            return report
    return None


async def _logged(sandbox: Sandbox, instance: Instance) -> dict[str, Any]:
    result = await sandbox.exec(
        ["bash", "-c", f"{{ {instance.eval_script}\n}} 2>&1"],
        instance.timeout_s,
        cwd=instance.root,
        env=instance.environment,
    )
    statuses = parse_log(result.text, instance.log_parser)
    words = {"xfail": "xfailed", "xpass": "xpassed"}
    outcomes = {test: words.get(s.lower(), s.lower()) for test, s in statuses.items()}
    return {
        "outcomes": outcomes,
        "tampering": [],
        "output": result.text[-4000:],
        "timed_out": result.timed_out,
        "forgeable": True,
    }


def _from_report(instance: Instance, report: dict[str, Any], dropped: tuple[str, ...]) -> Verdict:
    outcomes = report.get("outcomes", {})
    known = {test: outcomes.get(test, "missing") for test in instance.tests}
    failed = [test for test, outcome in known.items() if outcome != "passed"]
    failed.sort(key=lambda test: known[test] == "missing")
    survived = [test for test, end in report.get("control", {}).items() if end == "passed"]
    if report.get("no_report"):
        result, why = Result.NO_REPORT, "the runner left no report"
    elif report["tampering"]:
        result, why = Result.TAMPERED, report["tampering"][0]
    elif survived:
        result, why = Result.TAMPERED, f"passes although it must fail: {_some(survived)}"
    elif report.get("timed_out"):
        result, why = Result.TIMEOUT, f"the tests took more than {instance.timeout_s:g} s"
    elif failed:
        result, why = Result.TESTS_FAILED, f"does not pass: {_some(failed)}"
    elif not known:
        result, why = Result.TESTS_FAILED, "the task names no test"
    else:
        result, why = Result.RESOLVED, ""
    return Verdict(
        result,
        why,
        outcomes=known,
        dropped=dropped,
        control=report.get("control", {}),
        output=str(report.get("output", ""))[-4000:],
        forgeable=bool(report.get("forgeable")),
    )


def _some(tests: list[str]) -> str:
    more = f" and {len(tests) - _BLAMED} more" if len(tests) > _BLAMED else ""
    return ", ".join(tests[:_BLAMED]) + more
