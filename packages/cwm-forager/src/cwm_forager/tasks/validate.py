"""Proof that a task is sound: the gold patch passes, no patch fails, and the fix lies nowhere."""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from pathlib import PurePosixPath

from cwm_core.components import ComponentConfig
from cwm_core.errors import CwmError
from cwm_core.sandbox.base import Sandbox
from cwm_forager.grading.grade import grade, run_tests
from cwm_forager.grading.verdict import Result, Verdict
from cwm_forager.tasks.instance import Instance
from cwm_forager.tasks.mirror import measured
from cwm_forager.tasks.patches import touched
from cwm_forager.tasks.place import apply_patch, open_repository


@dataclass(frozen=True, slots=True)
class Validation:
    """Whether an instance is sound; `instance` is it with what was learnt."""

    instance: Instance
    valid: bool
    reason: str = ""
    """One sentence, empty for a sound one."""
    duration_s: float = 0.0
    dropped_tests: tuple[str, ...] = ()
    """Tests that did not behave as the instance says, and were left out."""

    def as_json(self) -> dict[str, object]:
        """Return what the report says of the instance."""
        return {
            "id": self.instance.id,
            "valid": self.valid,
            "reason": self.reason,
            "duration_s": round(self.duration_s, 3),
            "fail_to_pass": len(self.instance.fail_to_pass),
            "pass_to_pass": len(self.instance.pass_to_pass),
            "dropped_tests": list(self.dropped_tests),
        }


async def validate(
    config: ComponentConfig,
    instance: Instance,
    *,
    search_copies: bool = True,
    keep_reliable: bool = False,
) -> Validation:
    """Prove one instance in fresh sandboxes.

    Without a patch every fail-to-pass test must not pass and every pass-to-pass test must; with the
    gold patch all must pass, by the same judgement that agents get. Tests that pass although their
    bodies were made to fail are noted in ``metadata["control_exempt"]``. An instance that names no
    tests, from a repository's history, gets those that its test patch changes. Nothing is raised
    for an instance that is broken in whatever way.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        found = await _validate(config, instance, search_copies, keep_reliable)
    except CwmError as error:
        found = Validation(instance, False, str(error))
    return Validation(
        found.instance, found.valid, found.reason, loop.time() - started, found.dropped_tests
    )


async def _validate(
    config: ComponentConfig, instance: Instance, search_copies: bool, keep_reliable: bool
) -> Validation:
    if not instance.gold_patch.strip():
        return Validation(instance, False, "it has no gold patch")
    if not instance.tests and instance.test_patch:
        candidate = await measured(config, instance)
        if candidate is None:
            return Validation(instance, False, "no test that it changes is repaired by it")
        instance = candidate
    if not instance.fail_to_pass:
        return Validation(instance, False, "it names no fail-to-pass test")
    before = await run_tests(config, instance, "")
    if not set(before.outcomes.values()) - {"missing"}:
        return Validation(instance, False, f"no test runs before the repair: {_end(before)}")
    wrong = _wrong(instance, before.outcomes)
    after = await run_tests(config, instance, instance.gold_patch)
    wrong += [test for test, outcome in after.outcomes.items() if outcome != "passed"]
    if wrong and not keep_reliable:
        return Validation(instance, False, f"not as the instance says: {', '.join(wrong[:5])}")
    instance = _learnt(instance, set(wrong), after)
    if not instance.fail_to_pass:
        return Validation(instance, False, "no fail-to-pass test behaves so", 0.0, tuple(wrong))
    verdict = await grade(config, instance, instance.gold_patch)
    if not verdict.resolved:
        why = f"the gold patch is no repair: {verdict.result}: {verdict.reason}"
        return Validation(instance, False, why, 0.0, tuple(wrong))
    copies = await copies_of_fix(config, instance) if search_copies else []
    if copies:
        return Validation(instance, False, f"the repaired source also lies in {copies[0]}")
    return Validation(instance, True, "", 0.0, tuple(wrong))


def _wrong(instance: Instance, outcomes: dict[str, str]) -> list[str]:
    passing = [test for test in instance.fail_to_pass if outcomes.get(test) == "passed"]
    broken = [test for test in instance.pass_to_pass if outcomes.get(test) != "passed"]
    return passing + broken


def _learnt(instance: Instance, wrong: set[str], after: Verdict) -> Instance:
    exempt = sorted(test for test, outcome in after.control.items() if outcome == "passed")
    metadata = {**instance.metadata, **({"control_exempt": exempt} if exempt else {})}
    return instance.model_copy(
        update={
            "fail_to_pass": tuple(t for t in instance.fail_to_pass if t not in wrong),
            "pass_to_pass": tuple(t for t in instance.pass_to_pass if t not in wrong),
            "metadata": metadata,
        }
    )


def _end(verdict: Verdict) -> str:
    last = verdict.output.strip().splitlines()[-3:]
    cause = verdict.reason if verdict.result is Result.NO_REPORT else ""
    return " / ".join([*([cause] if cause else []), *last])[-500:]


async def copies_of_fix(config: ComponentConfig, instance: Instance) -> list[str]:
    """Return files outside of the repository that equal a repaired source file."""
    names = [path for path in touched(instance.gold_patch) if path.endswith(".py")]
    if not names:
        return []
    sandbox = await open_repository(config, instance)
    try:
        await apply_patch(sandbox, instance, instance.gold_patch)
        return [copy for name in names for copy in await _copies(sandbox, instance, name)]
    finally:
        await sandbox.close()


async def _copies(sandbox: Sandbox, instance: Instance, name: str) -> list[str]:
    pattern = shlex.quote(PurePosixPath(name).name)
    script = (
        'r=$(pwd -P); find / \\( -path /proc -o -path /sys -o -path /dev -o -path "$r" \\) -prune '
        f"-o -name {pattern} -type f -size +0 -print 2>/dev/null | "
        f'while read -r f; do cmp -s "$f" {shlex.quote(name)} && printf \'%s\\n\' "$f"; done; true'
    )
    result = await sandbox.exec(script, 120.0, cwd=instance.root)
    return result.text.splitlines()
