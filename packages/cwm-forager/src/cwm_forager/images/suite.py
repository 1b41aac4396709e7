"""Runs of an image's suite inside a sandbox, and what they say."""

from __future__ import annotations

import json
import secrets
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol

from cwm_core.errors import RunError
from cwm_core.sandbox.base import ExecResult, SandboxError
from cwm_forager.images.manifest import TestRecord
from cwm_forager.images.outcomes import CRASHED, RunReport, check_with_junit, read_report

INSIDE = ("cwm_probe.py", "cwm_reach.py", "cwm_imports.py", "cwm_forks.py")
OPTIONS = (
    *("-p", "cwm_probe"),
    *("-p", "no:cacheprovider"),
    *("-p", "no:randomly"),
    "--continue-on-collection-errors",
)
MAX_RESTARTS = 25
"""How often a run goes on after a test that took the process with it."""


_LOOK_S = 60.0


class Place(Protocol):
    """What a suite needs of a `Sandbox`."""

    async def exec(
        self,
        command: str | Sequence[str],
        timeout_s: float,
        *,
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> ExecResult:
        """Run a command."""
        ...

    async def read_file(self, path: str) -> bytes:
        """Return a file's content."""
        ...

    async def write_file(self, path: str, content: bytes) -> None:
        """Write a file, making its directories."""
        ...


class SuiteError(RunError):
    """A suite cannot be run at all, or has no tests."""


@dataclass(frozen=True, slots=True)
class SuiteLimits:
    """Seconds for one test, and for a run of all."""

    test_s: float = 60.0
    run_s: float = 1800.0


class Suite:
    """The suite of a repository that lies in a sandbox; `install` comes first."""

    def __init__(
        self,
        sandbox: Place,
        command: Sequence[str],
        workdir: str,
        environment: Mapping[str, str] | None = None,
        limits: SuiteLimits = SuiteLimits(),
        place: str = "/tmp",
    ) -> None:
        self.sandbox = sandbox
        self.command = [*command, *OPTIONS, f"--rootdir={workdir}"]
        self.workdir = workdir
        self.environment = dict(environment or {})
        self.limits = limits
        self.token = secrets.token_hex(16)
        self.place = f"{place}/cwm-{secrets.token_hex(6)}"
        """Directory in the sandbox for the plugin and what it writes."""

    async def install(self) -> None:
        """Write the plugin into the sandbox."""
        for name in INSIDE:
            content = files("cwm_forager.images.inside").joinpath(name).read_bytes()
            await self.sandbox.write_file(f"{self.place}/{name}", content)

    def settings(self, out: str, **more: Any) -> dict[str, Any]:
        """Return the plugin's settings for one run."""
        return {
            "out": out,
            "token": self.token,
            "limit_s": self.limits.test_s,
            "root": self.workdir,
            **more,
        }

    async def run(self, **more: Any) -> RunReport:
        """Run the suite, going on after tests that end the process; `more` are plugin settings.

        Raises:
            SuiteError: pytest does not start, or stops before its first test.
        """
        report, known = await self._once(more), 0
        for _ in range(MAX_RESTARTS):
            if report.finished or not (report.tests or report.running):
                break
            if report.running is not None:
                report.tests[report.running] = _how_it_ended(report, self.limits)
            elif len(report.tests) == known:
                break
            known = len(report.tests)
            skip = [*more.get("skip", ()), *report.tests]
            rest = await self._once({**more, "skip": skip})
            report = _joined(report, rest)
        return report

    async def _once(self, more: Mapping[str, Any]) -> RunReport:
        name = secrets.token_hex(4)
        out, junit = f"{self.place}/{name}.jsonl", f"{self.place}/{name}.xml"
        settings = self.settings(out, **more)
        path = f"{self.place}/{name}.json"
        await self.sandbox.write_file(path, json.dumps(settings).encode())
        environment = {**self.environment, "PYTHONPATH": self.place, "CWM_PROBE": path}
        if "PYTHONPATH" in self.environment:
            environment["PYTHONPATH"] += f":{self.environment['PYTHONPATH']}"
        result = await self.sandbox.exec(
            [*self.command, f"--junitxml={junit}", "-o", "junit_family=xunit2"],
            self.limits.run_s,
            cwd=self.workdir,
            env=environment,
        )
        report = read_report(await self.read(out), self.token)
        report.output = (result.stdout + result.stderr).decode("utf-8", "backslashreplace")[-4000:]
        report.duration_s = result.duration_s
        if not report.configured:
            raise SuiteError(
                f"pytest did not start: {report.output.strip()[-600:] or 'no output'}",
                "the test command was: " + " ".join(self.command),
            )
        if report.finished:
            check_with_junit(report, await self.read(junit))
        return report

    async def read(self, path: str) -> bytes:
        """Return a file's content, nothing where there is none; SandboxError when reading fails."""
        try:
            return await self.sandbox.read_file(path)
        except SandboxError:
            if (await self.sandbox.exec(["test", "-e", path], _LOOK_S)).exit_code != 1:
                raise
            return b""


def _how_it_ended(report: RunReport, limits: SuiteLimits) -> str:
    known = sum(report.seconds.values())
    return "timeout" if report.duration_s - known >= limits.test_s else CRASHED


def _joined(first: RunReport, rest: RunReport) -> RunReport:
    rest.tests = {**first.tests, **rest.tests}
    rest.seconds = {**first.seconds, **rest.seconds}
    rest.collected = first.collected
    rest.errors = {**rest.errors, **first.errors}
    rest.duration_s += first.duration_s
    return rest


def records(reports: Sequence[RunReport]) -> dict[str, TestRecord]:
    """Return what repeated runs say about each test; tests that a run lacks are ``missing``."""
    names = sorted({name for report in reports for name in report.tests})
    return {
        name: TestRecord(
            outcomes=tuple(report.tests.get(name, "missing") for report in reports),
            duration_s=round(
                statistics.median(report.seconds.get(name, 0.0) for report in reports), 3
            ),
        )
        for name in names
    }
