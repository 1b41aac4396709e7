# mypy: ignore-errors
# ruff: noqa: PTH123, SIM114
"""Which code each test reaches, so that a changed function is tried by those tests alone.

Functions are the unit: a test reaches a function when the function is entered while the test runs.
What runs outside of any test (imports, collection, fixtures that outlive a test) is reached by all.
Tests that start processes, or read source files of the repository, reach everything.
"""

from __future__ import annotations

import json
import os
import sys
import threading

import cwm_imports
import pytest

LINES_PER_CALL = 1_000
"""Lines traced per call, and calls with lines per function and test: bounds what tracing costs;
entering a function is always seen."""
CALLS_WITH_LINES = 5
OPAQUE = ("subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")


class Reach:
    """Traces everything from now on, by the running test."""

    def __init__(self, settings, probe):
        self._root = os.path.realpath(settings["root"]) + os.sep
        self._out = settings["reach"]
        self._known = {}  # by id: hashing a code object reads all of it
        self._kept = []
        self._codes = []
        self._reached = {"": set()}
        self._lines = {}
        self._opaque = set()
        self._test = ""
        self._shared = 0
        self._calls = {}
        self._early = set()
        sys.addaudithook(self._audit)
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def _enter(self, frame, event, arg):
        code = frame.f_code
        index = self._known.get(id(code))
        if index is None:
            index = self._known[id(code)] = self._learn(code)
            self._kept.append(code)
        if index < 0:
            return None
        if code.co_name == "<module>":
            self._shared += 1
            self._reached[""].add(index)
            return self._module
        if self._shared or not self._test:
            self._reached[""].add(index)
            return None
        calls = self._calls.get(index, 0)
        if calls >= CALLS_WITH_LINES:
            return None
        self._calls[index] = calls + 1
        self._reached[self._test].add(index)
        return self._line_tracer(self._lines.setdefault(self._codes[index][0], set()))

    def _learn(self, code):
        path = os.path.realpath(code.co_filename)
        if not path.startswith(self._root) or "site-packages" in path:
            return -1
        names = [*code.co_names, *code.co_freevars]
        names += [const for const in code.co_consts if isinstance(const, str) and len(const) < 60]
        relative = path[len(self._root) :].replace(os.sep, "/")
        self._codes.append([relative, code.co_firstlineno, names])
        return len(self._codes) - 1

    def _module(self, frame, event, arg):
        if event == "return":
            self._shared -= 1
        frame.f_trace_lines = False
        return self._module

    def _line_tracer(self, lines):
        left = LINES_PER_CALL

        def trace(frame, event, arg):
            nonlocal left
            left -= 1
            if event == "line":
                lines.add(frame.f_lineno)
            if left <= 0:
                frame.f_trace_lines = False
            return trace

        return trace

    def _audit(self, event, arguments):
        if not self._test:
            return
        if event in OPAQUE:
            self._opaque.add(self._test)
        elif event == "open" and self._is_source(arguments[0]):
            self._opaque.add(self._test)

    def _is_source(self, path):
        named = isinstance(path, str) and path.endswith(".py")
        return named and os.path.realpath(path).startswith(self._root)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self):
        """What is loaded before any test file serves all of them."""
        self._early = set(cwm_imports.files_of(self._root).values())

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item):
        """Attribute what runs to a test."""
        self._reached.setdefault(item.nodeid, set())
        self._test, self._calls = item.nodeid, {}
        if sys.gettrace() is None:
            sys.settrace(self._enter)
        yield
        self._test = ""

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef, request):
        """What outlives a test may be used by every test."""
        outlives = fixturedef.scope != "function"
        self._shared += outlives
        yield
        self._shared -= outlives

    def pytest_sessionfinish(self):
        """Write what was reached."""
        sys.settrace(None)
        threading.settrace(None)
        found = {
            "codes": self._codes,
            "reached": {name: sorted(codes) for name, codes in self._reached.items()},
            "lines": {path: sorted(lines) for path, lines in self._lines.items()},
            "opaque": sorted(self._opaque),
            "modules": self._foreign_modules(),
            "imports": cwm_imports.graph(self._root),
            "early": sorted(self._early),
        }
        with open(self._out, "w", encoding="ascii") as file:
            json.dump(found, file)

    def _foreign_modules(self):
        """Modules from outside of the repository: a server may import them beforehand."""
        names = []
        for name, module in list(sys.modules.items()):
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or name.startswith("cwm_"):
                continue
            path = os.path.realpath(path)
            if not path.startswith(self._root) or "site-packages" in path:
                names.append(name)
        return sorted(names)
