"""Tests decide which candidates are bugs: batches of runs in warm processes, several at once."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cwm_core.errors import RunError
from cwm_forager.images.outcomes import RunReport, read_report
from cwm_forager.images.suite import Suite
from cwm_forager.mutate.choose import Candidate

SLACK_S = 20.0
"""Seconds that a run may take besides its tests."""
SLOWER = 10.0
"""How many times longer than on the original a test may take."""
CRASHED = 99
"""Exit code of a fork that could not even start pytest."""
CHEAP_REPORTS = "--tb=native"
"""Nobody reads how tests of mutants fail; pytest's own style takes longer than the tests."""
LEAST_S = 5.0
"""Seconds that every test may take."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests say about a candidate."""

    valid: bool
    reason: str
    """Why it is none, for candidates that are no bugs; empty for the others."""
    fail_to_pass: tuple[str, ...] = ()
    pass_to_pass: tuple[str, ...] = ()
    not_run: tuple[str, ...] = ()
    tests_run: int = 0
    duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is known about the unchanged suite."""

    reliable: frozenset[str]
    """Tests that always pass: in every order, with and without the tests that come before."""
    seconds: dict[str, float]
    """Duration by test."""
    modules: tuple[str, ...] = ()
    """Modules to have imported already."""

    def limits(self, tests: Sequence[str]) -> dict[str, float]:
        """Return the seconds that each test may take."""
        known = self.seconds
        return {name: max(LEAST_S, SLOWER * known.get(name, 0.0)) for name in tests}


def judge(
    candidate: Candidate, report: RunReport, baseline: Baseline, selected: frozenset[str]
) -> Verdict:
    """Compare a run with the baseline; tests that were not selected pass as they always do.

    A test is fail-to-pass only when it ran and failed; one that did not run is neither.
    """
    timed_out = [name for name, outcome in report.tests.items() if outcome == "timeout"]
    if timed_out or not report.finished:
        reason = f"timeout: {timed_out[0]}" if timed_out else "did not finish"
        return Verdict(False, reason, tests_run=len(report.tests))
    failed, absent = [], []
    for name in sorted(selected & baseline.reliable):
        outcome = report.tests.get(name)
        if outcome in ("failed", "error"):
            failed.append(name)
        elif outcome != "passed":
            absent.append(name)
    passing = sorted(baseline.reliable - {*failed, *absent})
    if not failed:
        reason = "tests did not run" if absent else "no test fails"
    else:
        reason = "" if passing else "no test passes"
    return Verdict(
        not reason, reason, tuple(failed), tuple(passing), tuple(absent), len(report.tests)
    )


class Validator:
    """Runs candidates in one sandbox whose suite is installed; for one task at a time."""

    def __init__(self, suite: Suite, baseline: Baseline) -> None:
        self._suite = suite
        self._baseline = baseline

    async def run(self, batch: Sequence[Candidate], *, full: bool = False) -> list[Verdict]:
        """Return a verdict per candidate, in order; `full` runs every reliable test for each.

        Raises:
            RunError: the batch could not be run at all.
        """
        selections = [self._selected(candidate, full) for candidate in batch]
        place = f"{self._suite.place}/{secrets.token_hex(4)}"
        jobs = [
            self._job(candidate, tests, f"{place}/{number}")
            for number, (candidate, tests) in enumerate(zip(batch, selections, strict=True))
        ]
        results = await self._run_batch(jobs, place)
        verdicts = []
        for number, (candidate, tests) in enumerate(zip(batch, selections, strict=True)):
            status, seconds = results.get(str(number), ("lost", 0.0))
            data = await self._suite.read(f"{place}/{number}/report.jsonl")
            report = read_report(data, self._suite.token)
            if status == "timeout":
                report.finished = False
            verdict = judge(candidate, report, self._baseline, tests)
            if status == CRASHED:
                crash = await self._suite.read(f"{place}/{number}/report.jsonl.crash")
                raise RunError(
                    "the runner of mutants crashed before pytest began",
                    crash.decode("utf-8", "replace").strip().rpartition("\n")[2],
                )
            verdicts.append(_timed(verdict, seconds))
        return verdicts

    def _selected(self, candidate: Candidate, full: bool) -> frozenset[str]:
        return self._baseline.reliable if full else candidate.tests & self._baseline.reliable

    def _job(self, candidate: Candidate, tests: frozenset[str], place: str) -> dict[str, object]:
        limits = self._baseline.limits(sorted(tests))
        known = sum(self._baseline.seconds.get(name, 0.0) for name in tests)
        settings = self._suite.settings(f"{place}/report.jsonl", only=sorted(tests), limits=limits)
        return {
            "id": place.rpartition("/")[2],
            "files": {f"{self._suite.workdir}/{candidate.path}": candidate.text},
            "settings": settings,
            "limit_s": SLACK_S + SLOWER * known,
        }

    async def _run_batch(
        self, jobs: list[dict[str, object]], place: str
    ) -> dict[str, tuple[str, float]]:
        suite = self._suite
        start = suite.command.index("pytest") + 1
        batch = {
            "modules": list(self._baseline.modules),
            "command": [*suite.command[start:], CHEAP_REPORTS],
            "root": suite.workdir,
            "plugins": suite.place,
            "jobs": jobs,
            "results": f"{place}/results.jsonl",
        }
        await suite.sandbox.write_file(f"{place}/batch.json", json.dumps(batch).encode())
        python = suite.command[: start - 2]
        limit = 60.0 + sum(float(str(job["limit_s"])) for job in jobs)
        line = [*python, f"{suite.place}/cwm_forks.py", f"{place}/batch.json"]
        result = await suite.sandbox.exec(line, limit, cwd=suite.workdir, env={**suite.environment})
        lines = (await suite.read(f"{place}/results.jsonl")).splitlines()
        if not lines and jobs:
            raise RunError(
                f"mutants cannot be run: {(result.stderr or result.stdout)[-500:]!r}",
                f"the command was: {' '.join(line)}",
            )
        entries = [json.loads(line) for line in lines]
        return {str(each["id"]): (str(each["status"]), float(each["seconds"])) for each in entries}


def _timed(verdict: Verdict, seconds: float) -> Verdict:
    return Verdict(
        verdict.valid,
        verdict.reason,
        verdict.fail_to_pass,
        verdict.pass_to_pass,
        verdict.not_run,
        verdict.tests_run,
        round(seconds, 3),
    )
