"""Parsers of test logs: from what a test run printed to the status of each test.

Only for test suites that our own runner (`cwm_forager.grading`) cannot run: what a tested process
prints can be forged.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cwm_core.errors import DataError

Statuses = dict[str, str]
"""By test id: ``PASSED``, ``FAILED``, ``ERROR``, ``SKIPPED``, ``XFAIL`` or ``XPASS``."""

START_MARKER = ">>>>> Start Test Output"
END_MARKER = ">>>>> End Test Output"
_STATUS = r"(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_VERBOSE = re.compile(rf"^(\S.*::.*?) {_STATUS}(?: +\[ *\d+%\]| \(.*\).*)?\s*$")
_SUMMARY = re.compile(rf"^{_STATUS} (\S.*?)(?: - .*)?$")
_UNITTEST = re.compile(
    r"^(.+?) \.\.\. (ok|FAIL|ERROR|skipped.*|expected failure|unexpected success)$"
)
_UNITTEST_END = re.compile(r"^(?:.*\s)?(ok|FAIL|ERROR)$")
_SYMPY = re.compile(r"^(test_\w+)\s+(ok|F|E|f|s|X)\b")
_WORDS = {
    "ok": "PASSED",
    "FAIL": "FAILED",
    "F": "FAILED",
    "ERROR": "ERROR",
    "E": "ERROR",
    "expected failure": "XFAIL",
    "f": "XFAIL",
    "unexpected success": "XPASS",
    "X": "XPASS",
    "s": "SKIPPED",
}


def parse_log(log: str, parser: str = "pytest") -> Statuses:
    """Return the status of every test in a log.

    Only what lies between the markers of SWE-bench counts, where they are.

    Raises:
        DataError: there is no such parser.
    """
    if parser not in PARSERS:
        raise DataError(f"no log parser {parser!r}", f"there are: {', '.join(sorted(PARSERS))}")
    return PARSERS[parser](_COLOR.sub("", _between_markers(log)))


def status_changes(before: Statuses, after: Statuses) -> dict[str, list[str]]:
    """Return tests by what a repair makes of them: the validation report of SWE-smith's harness.

    In the order of the log after it. A passing test that the log before lacks was repaired, so was
    a failing one that the log after lacks, and a failing one that the log before lacks was broken.
    Other statuses than ``PASSED`` and ``FAILED`` do not count.
    """
    report: dict[str, list[str]] = {
        "FAIL_TO_PASS": [], "PASS_TO_PASS": [], "FAIL_TO_FAIL": [], "PASS_TO_FAIL": []
    }  # fmt: skip
    for test, status in after.items():
        assumed = {"PASSED": "FAILED", "FAILED": "PASSED"}.get(status, "")
        change = f"{before.get(test, assumed)[:4]}_TO_{status[:4]}"
        if change in report:
            report[change].append(test)
    gone = [test for test, status in before.items() if status == "FAILED" and test not in after]
    report["FAIL_TO_PASS"] += gone
    return report


def _between_markers(log: str) -> str:
    start = log.find(START_MARKER)
    if start != -1:
        log = log[start + len(START_MARKER) :]
        end = log.rfind(END_MARKER)
        log = log if end == -1 else log[:end]
    return log


def parse_pytest(log: str) -> Statuses:
    """Read the lines of ``pytest -v`` and the short summary of ``-rA``.

    The summary cuts long names and adds reasons, so the verbose lines win.
    """
    statuses: Statuses = {}
    verbose: Statuses = {}
    for line in log.splitlines():
        if match := _VERBOSE.match(line):
            verbose[match[1]] = match[2]
        elif (match := _SUMMARY.match(line)) and "::" in match[2]:
            statuses[match[2]] = match[1]
    return {**statuses, **verbose}


def parse_unittest(log: str) -> Statuses:
    """Read the lines of ``unittest -v`` and of Django's ``runtests.py --verbosity 2``.

    A test with a docstring shows it on a line of its own; one that prints shows its outcome later.
    """
    statuses: Statuses = {}
    named: str | None = None
    for line in log.splitlines():
        text = line.strip()
        if match := _UNITTEST.match(text):
            name = named if named is not None and not _is_test_name(match[1]) else match[1]
            statuses[name] = _word(match[2])
            named = None
        elif _is_test_name(text.partition(" ... ")[0]):
            named = text.partition(" ... ")[0]
        elif named is not None and (match := _UNITTEST_END.match(text)):
            statuses[named] = _word(match[1])
            named = None
    return statuses


def _is_test_name(text: str) -> bool:
    return re.fullmatch(r"\w+ \([\w.]+\)", text) is not None


def _word(word: str) -> str:
    return "SKIPPED" if word.startswith("skipped") else _WORDS[word]


def parse_sympy(log: str) -> Statuses:
    """Read the lines of SymPy's ``bin/test --verbose``."""
    return {
        match[1]: _WORDS[match[2]] for line in log.splitlines() if (match := _SYMPY.match(line))
    }


def parse_r2e(log: str) -> Statuses:
    """Read the short summary of ``pytest -rA`` with names as R2E-Gym has them: ``Class.test``."""
    statuses: Statuses = {}
    for line in log.splitlines():
        if (match := _SUMMARY.match(line)) and "::" in match[2]:
            statuses[".".join(match[2].split("::")[1:])] = match[1]
    return statuses


PARSERS: dict[str, Callable[[str], Statuses]] = {
    "pytest": parse_pytest,
    "unittest": parse_unittest,
    "django": parse_unittest,
    "sympy": parse_sympy,
    "r2e": parse_r2e,
}
