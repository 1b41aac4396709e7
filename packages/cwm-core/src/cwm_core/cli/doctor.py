"""``cwm doctor``: what this machine has, what each part enables, how to get what is missing."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from cwm_core.cli.probes import Finding, probe_all


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what this machine has, what each part enables, and how to get what is missing."""
    findings = probe_all()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _show(findings)


def _show(findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = "found  " if finding.found else "missing"
        print(f"{mark}  {finding.name:<{width}}  {finding.detail or '-'}")
        print(f"{'':9}{'':{width}}  enables: {finding.enables}")
        if not finding.found:
            print(f"{'':9}{'':{width}}  get it:  {finding.get_it}")
