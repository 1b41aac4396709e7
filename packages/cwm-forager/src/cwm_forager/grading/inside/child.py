# ruff: noqa
# mypy: ignore-errors
"""Runs pytest on chosen tests and proves each outcome; read from the command line.

Everything that decides is imported and remembered before the first line of the repository runs;
what was remembered is compared after every test.
"""

import sys


def main():
    import builtins
    import hashlib
    import hmac
    import json
    import os

    with os.fdopen(int(sys.argv[1]), "rb") as pipe:
        orders = json.loads(pipe.read().decode("utf-8"))
    fd, root = int(sys.argv[2]), orders["root"]
    os.set_inheritable(fd, False)
    sys.argv[:] = ["pytest"]
    outside = [p for p in orders["paths"] if not (p + "/").startswith(root + "/")]
    sys.path[:0] = outside
    import pytest

    remembered = Remembered()
    sys.path[:0] = [p for p in orders["paths"] if p not in outside]
    key, wanted = orders.pop("key").encode(), set(orders["tests"])
    write, dumps, new = os.write, json.dumps, hmac.new
    digest, length = hashlib.sha256, len
    count = [0]

    def tell(**entry):
        entry["number"] = count[0]
        count[0] += 1
        body = dumps(entry).encode()
        line = new(key, body, digest).hexdigest().encode() + b" " + body + b"\n"
        while line:
            line = line[write(fd, line) :]

    builtins.__cwm_probe__ = prober(tell, root, orders["guarded_files"])
    reported = {}

    class Plugin:
        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(self, session, config, items):
            self.session = session
            kept, dropped = [], []
            for item in items:
                chosen = item.nodeid in wanted or item.nodeid.split("::")[0] in wanted
                (kept if chosen else dropped).append(item)
            if dropped:
                config.hook.pytest_deselected(items=dropped)
            items[:] = kept

        @pytest.hookimpl(trylast=True)
        def pytest_runtest_logreport(self, report):
            outcome = outcome_of(report)
            before = reported.get(report.nodeid)
            if before in (None, "passed") or outcome == "error":
                reported[report.nodeid] = outcome

        @pytest.hookimpl(trylast=True)
        def pytest_runtest_logfinish(self, nodeid):
            outcome = reported.get(nodeid, "missing")
            tell(test=nodeid, outcome=outcome, changed=remembered.changed())
            if orders["fail_fast"] and outcome != "passed":
                self.session.shouldstop = "a test failed that must pass"

    files = list(dict.fromkeys(test.split("::")[0] for test in orders["tests"]))
    arguments = ["--rootdir", root, "-p", "no:cacheprovider", *orders["args"], *files]
    arguments += ["--basetemp", os.path.join(orders["scratch"], "tmp")]
    if "xdist" in loaded_plugins():
        arguments += ["-p", "no:xdist", "-o", "addopts="]
    code = pytest.main(arguments, plugins=[Plugin()])
    tell(finished=int(code), changed=remembered.changed())
    os.close(fd)
    return int(code)


def outcome_of(report):
    if hasattr(report, "wasxfail"):
        return "xpassed" if report.outcome == "passed" else "xfailed"
    if report.when != "call":
        return {"failed": "error"}.get(report.outcome, report.outcome)
    return report.outcome


def loaded_plugins():
    """Return the names of installed plugins that would spread tests over processes."""
    try:
        from importlib.metadata import distributions
    except ImportError:
        return set()
    return {
        point.name
        for distribution in distributions()
        for point in distribution.entry_points
        if point.group == "pytest11"
    }


class Remembered:
    """The functions of pytest, pluggy, unittest and the built-ins, as they were at first."""

    NAMES = ("_pytest", "pluggy", "unittest.case", "unittest.suite", "unittest.result", "builtins")

    def __init__(self):
        import unittest.case
        import unittest.result
        import unittest.suite  # noqa: F401
        from types import FunctionType

        self.function = FunctionType
        self.entries = []
        for name, module in sorted(sys.modules.items()):
            if name in self.NAMES or name.startswith(("_pytest.", "pluggy.")):
                self.remember(name, vars(module))
        self.entries = tuple(self.entries)

    def remember(self, name, space):
        for key, value in list(space.items()):
            if isinstance(value, self.function):
                self.entries.append((name, space, key, value, value.__code__))
            elif isinstance(value, type) and value.__module__ == name and name != "builtins":
                inner = vars(value)
                for each, method in list(inner.items()):
                    method = getattr(method, "__func__", method)
                    if isinstance(method, self.function):
                        where = name + "." + key
                        self.entries.append((where, inner, each, method, method.__code__))
            elif name == "builtins" and callable(value):
                self.entries.append((name, space, key, value, None))

    def changed(self):
        changed = []
        for name, space, key, value, code in self.entries:
            now = space.get(key)
            now = getattr(now, "__func__", now) if code is not None else now
            if getattr(now, "__module__", "") == "_pytest.legacypath":
                continue  # pytest's own doing, when it is configured
            if now is not value or (code is not None and value.__code__ is not code):
                changed.append(name + "." + key)
        return changed


def prober(tell, root, tests):
    """Return a function that finds values of the repository's source which equal anything."""
    import random
    from importlib import machinery

    strange = random.randrange(10**9, 10**10)
    others = (object(), strange, str(strange), [strange], {strange: strange}, (strange,))
    tests = {root + "/" + name for name in tests}
    plain = (int, float, str, bytes, list, dict, tuple, set, bool, type(None))

    def probe(value):
        kind = type(value)
        if kind in plain:
            return value
        module = sys.modules.get(kind.__module__)
        path = str(getattr(module, "__file__", None) or "")
        if path in tests:
            return value
        if path.startswith(root + "/") and path.endswith(tuple(machinery.SOURCE_SUFFIXES)):
            try:
                equal = all((value == other) is True for other in others)
            except Exception:
                equal = False
            if equal:
                tell(always_equal=kind.__module__ + "." + kind.__qualname__)
        return value

    return probe


sys.exit(main())
