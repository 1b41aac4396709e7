# ruff: noqa: PTH118, PTH123
"""The pytest plugin: reports every outcome, and records while a test runs.

The environment variable ``CWM_RUNTIME`` names a JSON file with settings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from cwm_tracer.collect.repository.runtime.cutter import Cutter
from cwm_tracer.collect.repository.runtime.sink import append


class Reporter:
    """Appends what happens to ``outcomes.jsonl``, a line at a time."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "outcomes.jsonl")

    def _say(self, kind: str, **more: Any) -> None:
        append(self._path, json.dumps(dict(more, kind=kind)).encode("ascii") + b"\n")

    def pytest_collection_finish(self, session: Any) -> None:
        """List the tests."""
        self._say("collected", ids=[item.nodeid for item in session.items])

    def pytest_collectreport(self, report: Any) -> None:
        """Report what could not be collected."""
        if report.failed:
            self._say("collect_error", id=report.nodeid, text=str(report.longrepr)[-2000:])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Report that a test begins."""
        self._say("start", id=nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Report the outcome of a phase of a test."""
        xfail = hasattr(report, "wasxfail")
        fields = {"id": report.nodeid, "when": report.when, "outcome": report.outcome}
        self._say("report", xfail=xfail, **fields)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Report that a test is over."""
        self._say("end", id=nodeid)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Report that the run reached its end."""
        self._say("finished", status=int(exitstatus))


class Recording:
    """Records calls while a test runs, its fixtures included."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        """Record around everything that belongs to a test."""
        self._cutter.start(item.nodeid)
        try:
            yield
        finally:
            self._cutter.stop()


def pytest_configure(config: Any) -> None:
    """Begin, in the main process and in each worker of pytest-xdist."""
    with open(os.environ["CWM_RUNTIME"], encoding="utf-8") as file:
        settings = json.load(file)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reporter(settings["out"]), "cwm-reporter")
    if settings["trace"]:
        config.pluginmanager.register(Recording(Cutter(settings)), "cwm-recording")
