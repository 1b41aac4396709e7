"""Judges a script that shows a fault: it must say so on the broken repository, in a fresh sandbox.

The rule is that of CWM's test-generation tasks: on the unrepaired repository the script prints
``Issue reproduced``, and neither ``Issue resolved`` nor ``Other issues``. Whether it also
recognises the repair is told in addition; a script that always says the same is no test.
"""

from __future__ import annotations

import ast
import time

from cwm_core.components import ComponentConfig
from cwm_core.sandbox.base import SandboxError
from cwm_forager.grading.verdict import Result, Verdict
from cwm_forager.tasks.instance import Instance
from cwm_forager.tasks.place import apply_patch, open_repository

REPRODUCED, RESOLVED, OTHER = "Issue reproduced", "Issue resolved", "Other issues"
SCRIPT = "test_issue.py"
_TIMEOUT_S = 120.0


async def grade_script(config: ComponentConfig, instance: Instance, script: str) -> Verdict:
    """Judge a script.

    `outcomes` holds what it said about the repository ``before`` and ``after`` the repair:
    reproduced, resolved, other, mixed or nothing.

    Raises:
        SandboxError: the sandbox failed.
    """
    started = time.monotonic()
    problem = _unusable(script)
    if problem:
        return Verdict(Result.NOT_APPLICABLE, problem)
    before, output = await _said(config, instance, script, repaired=False)
    if before != "reproduced":
        outcomes = {"before": before}
        why = f"on the broken repository it says: {before}"
        return Verdict(Result.TESTS_FAILED, why, outcomes, output=output)
    after, _ = await _said(config, instance, script, repaired=True)
    duration = time.monotonic() - started
    outcomes = {"before": before, "after": after}
    return Verdict(Result.RESOLVED, "", outcomes, output=output, duration_s=duration)


def _unusable(script: str) -> str:
    if REPRODUCED not in script or RESOLVED not in script:
        return f"the script lacks {REPRODUCED!r} or {RESOLVED!r}"
    try:
        ast.parse(script)
    except (SyntaxError, ValueError, RecursionError) as error:
        return f"the script is no Python: {error}"
    return ""


async def _said(
    config: ComponentConfig, instance: Instance, script: str, *, repaired: bool
) -> tuple[str, str]:
    sandbox = await open_repository(config, instance)
    try:
        if repaired:
            await apply_patch(sandbox, instance, instance.gold_patch)
        root = "." if instance.root == "." else instance.root
        await sandbox.write_file(f"{root}/{SCRIPT}", script.encode("utf-8", "surrogateescape"))
        line = f"{instance.python} {SCRIPT} 2>&1"
        result = await sandbox.exec(line, _TIMEOUT_S, cwd=root, env=instance.environment)
    except SandboxError:
        raise
    finally:
        await sandbox.close()
    return _summary(result.text), result.text[-4000:]


def _summary(output: str) -> str:
    words = {REPRODUCED: "reproduced", RESOLVED: "resolved", OTHER: "other"}
    said = [word for text, word in words.items() if text in output]
    return {0: "nothing", 1: said[0] if said else ""}.get(len(said), "mixed")
