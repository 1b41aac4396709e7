"""`cwm doctor`: every row says what, what for, and how to get it."""

import json
import re
import subprocess
import sys

from cwm_core.cli import probes
from cwm_core.cli.doctor import _show
from cwm_core.plugins import registry

HEAVY = ("torch", "ray", "docker", "openai", "numpy", "pyarrow")
CODE = f"""
import json, sys
from cwm_core.cli.main import run
code = run(["doctor", "--json"])
print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


def test_json_has_every_row_and_probing_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report, _, state = done.stdout.strip().rpartition("\n")
    assert json.loads(state) == [0, []]
    rows = {row["name"]: row for row in json.loads(report)}
    wanted = {"Python", "CPU cores", "Memory", "Disk", "CPU features", "torch", "GPU"}
    wanted |= {"flash-attn", "ray", "openai", "C compiler", "bubblewrap", "uv"}
    assert wanted <= set(rows)
    assert all(row["enables"] and row["get_it"] for row in rows.values())
    assert rows["Python"]["detail"].startswith(sys.version.split()[0])
    assert int(rows["CPU cores"]["detail"]) >= 1


def test_an_empty_path_finds_no_programs(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("CC", "")
    findings = probes._programs()
    assert {finding.name for finding in findings} == {"C compiler", "bubblewrap", "uv"}
    assert not any(finding.found for finding in findings)
    _show(findings)
    shown = capsys.readouterr().out
    assert "missing  bubblewrap" in shown and "apt install bubblewrap" in shown


def test_programs_that_hang_fail_or_lack_are_missing():
    assert probes._output([sys.executable, "-c", "import time; time.sleep(60)"], 0.2) == ""
    assert probes._output([sys.executable, "-c", "print(1); raise SystemExit(1)"]) == ""
    assert probes._output(["/nonexistent/program"]) == ""
    assert probes._output([sys.executable, "-c", "print(' x ')"]) == "x"


def test_every_component_that_a_row_promises_is_declared():
    """`key=name` of a row is a component where `key` is a slot of some kind."""
    kinds = {kind.removesuffix("s"): kind for kind in registry().kinds()}
    promised = [
        (kinds[key], name)
        for finding in [*probes._packages(), *probes._programs()]
        for key, name in re.findall(r"(\w+)=(\w+)", finding.enables)
        if key in kinds
    ]
    assert ("executors", "ray") in promised
    for kind, name in promised:
        known = registry().components(kind)
        assert name in known or not known  # none: the package that declares it is not installed
