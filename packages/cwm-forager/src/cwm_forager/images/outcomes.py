"""Outcomes of tests, read on the trusted side from what the plugin and pytest itself wrote."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import Any

OUTCOMES = frozenset(
    ("passed", "failed", "error", "skipped", "xfailed", "xpassed", "timeout", "missing")
)
INTERNAL_ERROR = 3
"""Exit status of pytest when something in it broke."""
CRASHED = "crashed"
"""Outcome of a test with which the process ended."""


@dataclass(slots=True)
class RunReport:
    """What one run of pytest reported."""

    tests: dict[str, str] = field(default_factory=dict)
    """Outcome by test id."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Duration by test id."""
    collected: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)
    """Text of each collection error, by file."""
    configured: bool = False
    """Whether pytest came to its plugins."""
    finished: bool = False
    """Whether pytest reached its end."""
    running: str | None = None
    """The test that had begun and not ended."""
    duration_s: float = 0.0
    output: str = ""
    """End of what the run printed."""


def read_report(data: bytes, token: str) -> RunReport:
    """Read the plugin's lines; those without the token or of another shape are left out."""
    report = RunReport()
    for line in data.splitlines():
        try:
            entry = json.loads(line)
            if entry["token"] == token:
                _take(report, entry)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return report


def _take(report: RunReport, entry: dict[str, Any]) -> None:
    kind = entry["kind"]
    if kind == "configured":
        report.configured = True
    elif kind == "collected":
        report.collected = [str(name) for name in entry["ids"]]
    elif kind == "collect_error":
        report.errors[str(entry["id"])] = str(entry["text"])
    elif kind == "start":
        report.running = str(entry["id"])
    elif kind == "end":
        name, outcome = str(entry["id"]), str(entry["outcome"])
        report.tests[name] = outcome if outcome in OUTCOMES else "error"
        report.seconds[name] = float(entry["seconds"])
        report.running = None
    elif kind == "finished":
        report.finished = entry["status"] != INTERNAL_ERROR


def check_with_junit(report: RunReport, xml: bytes) -> list[str]:
    """Turn every pass that pytest's own junit file does not confirm into an error; return those.

    The file is written by pytest at its end; a missing or broken one confirms nothing.
    """
    confirmed = _passed(xml)
    refuted = [
        name
        for name, outcome in report.tests.items()
        if outcome == "passed" and junit_name(name) not in confirmed
    ]
    for name in refuted:
        report.tests[name] = "error"
    return refuted


def junit_name(test_id: str) -> tuple[str, str]:
    """Return classname and name that pytest's junit file gives to a test."""
    path, bracket, parameters = test_id.partition("[")
    parts = path.split("::")
    parts[0] = parts[0].replace("/", ".").removesuffix(".py")
    parts[-1] += bracket + parameters
    return ".".join(parts[:-1]), _xml_text(parts[-1])


def _passed(xml: bytes) -> set[tuple[str, str]]:
    try:
        root = ET.fromstring(xml)
    except ET.ParseError:
        return set()
    passed: set[tuple[str, str]] = set()
    other: set[tuple[str, str]] = set()
    for case in root.iter("testcase"):
        name = (case.get("classname", ""), case.get("name", ""))
        bad = any(child.tag in ("failure", "error", "skipped") for child in case)
        (other if bad else passed).add(name)
    return passed - other


def _xml_text(text: str) -> str:
    """Return text as it comes back out of XML: control characters are escaped by pytest."""
    legal = (0x09, 0x0A, 0x0D)
    return "".join(
        char if ord(char) >= 0x20 or ord(char) in legal else f"#x{ord(char):02X}" for char in text
    )
