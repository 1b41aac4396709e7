# mypy: ignore-errors
# ruff: noqa: PTH100, PTH108, PTH120, PTH123, SIM115
"""A pytest plugin that reports every outcome and ends tests that hang.

``CWM_PROBE`` names a JSON file with settings, which is deleted when it has been read::

    out       file to append reports to, one JSON object per line
    token     word that every line carries
    limit_s   seconds that a test may take; twice as much ends the whole process
    limits    the same for single tests, by id
    only      ids of the tests to run; null: all
    skip      ids of tests to leave out
    reverse   whether to run them in reverse order
    reach     file to write what each test reached to; null: nothing is traced
    root      directory of the repository
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time

import pytest


class Probe:
    """Appends what happens to a file, a line at a time."""

    def __init__(self, settings):
        self._settings = settings
        self._file = open(settings["out"], "ab", buffering=0)
        self._devnull = open(os.devnull, "w")
        self._phases = {}
        self._timed_out = False
        self._started = 0.0
        only = settings.get("only")
        self._only = None if only is None else set(only)
        self._files = None if only is None else {name.split("::")[0] for name in only}
        self._skip = set(settings.get("skip") or ())

    def say(self, kind, **fields):
        """Write one line."""
        line = json.dumps({"token": self._settings["token"], "kind": kind, **fields})
        self._file.write(line.encode("ascii") + b"\n")

    def pytest_ignore_collect(self, collection_path, config):
        """Leave files alone that hold no wanted test, unless the command names them."""
        if self._files is None or not collection_path.is_file():
            return None
        root = str(config.rootpath)
        name = os.path.relpath(str(collection_path), root).replace(os.sep, "/")
        if name in self._files or collection_path.name == "conftest.py":
            return None
        given = {os.path.abspath(arg.split("::")[0]) for arg in config.args}
        return None if str(collection_path) in given else True

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config, items):
        """Keep the wanted tests, in the wanted order."""
        wanted = self._only
        kept = [
            item
            for item in items
            if item.nodeid not in self._skip and (wanted is None or item.nodeid in wanted)
        ]
        dropped = [item for item in items if item not in set(kept)]
        if dropped:
            config.hook.pytest_deselected(items=dropped)
        if self._settings.get("reverse"):
            kept.reverse()
        items[:] = kept

    def pytest_collection_finish(self, session):
        """List the tests."""
        self.say("collected", ids=[item.nodeid for item in session.items])

    def pytest_collectreport(self, report):
        """Report what could not be collected."""
        if report.failed:
            self.say("collect_error", id=report.nodeid, text=str(report.longrepr)[-2000:])

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        """Report begin and end of a test, and limit its time."""
        limit = (self._settings.get("limits") or {}).get(item.nodeid, self._settings["limit_s"])
        self._phases, self._timed_out = {}, False
        self.say("start", id=item.nodeid)
        self._started = time.perf_counter()
        old = signal.signal(signal.SIGALRM, self._alarm)
        signal.setitimer(signal.ITIMER_REAL, limit)
        faulthandler.dump_traceback_later(2 * limit, exit=True, file=self._devnull)
        yield
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        outcome = "timeout" if self._timed_out else self._joined()
        seconds = round(time.perf_counter() - self._started, 4)
        self.say("end", id=item.nodeid, outcome=outcome, seconds=seconds)

    def _alarm(self, number, frame):
        self._timed_out = True
        pytest.fail("the test took too long")

    def pytest_runtest_logreport(self, report):
        """Remember the outcome of a phase of a test."""
        xfail = hasattr(report, "wasxfail")
        if report.outcome == "skipped":
            outcome = "xfailed" if xfail else "skipped"
        elif report.outcome == "passed":
            outcome = "xpassed" if xfail else "passed"
        else:
            outcome = "error" if report.when in ("setup", "teardown") else "failed"
        known = self._phases.get(report.when)
        rank = RANK.index
        if known is None or rank(outcome) > rank(known):
            self._phases[report.when] = outcome

    def _joined(self):
        return max(self._phases.values(), key=RANK.index, default="missing")

    def pytest_sessionfinish(self, exitstatus):
        """Report that the run reached its end."""
        self.say("finished", status=int(exitstatus))


RANK = ("missing", "passed", "skipped", "xpassed", "xfailed", "failed", "error")


@pytest.hookimpl(hookwrapper=True)
def pytest_cmdline_main(config):
    """Run in this process, whatever the repository's options say about others."""
    for name, value in (("numprocesses", None), ("maxprocesses", None), ("tx", []), ("px", [])):
        if hasattr(config.option, name):
            setattr(config.option, name, value)
    if hasattr(config.option, "dist"):
        config.option.dist = "no"
    yield


def pytest_configure(config):
    """Begin; nested runs of pytest do not report."""
    path = os.environ.pop("CWM_PROBE", None)
    if path is None:
        return
    with open(path, "rb") as file:
        settings = json.loads(file.read().decode("utf-8"))
    os.unlink(path)
    here = os.path.dirname(os.path.abspath(__file__))
    paths = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part != here]
    os.environ.pop("PYTHONPATH", None)
    if any(paths):
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    probe = Probe(settings)
    config.pluginmanager.register(probe, "cwm-probe-reports")
    if settings.get("reach"):
        from cwm_reach import Reach

        config.pluginmanager.register(Reach(settings, probe), "cwm-probe-reach")
    if here in sys.path:
        sys.path.remove(here)
    sys.modules.pop("cwm_probe", None)
    probe.say("configured", python=sys.version.split()[0], root=str(config.rootpath))
