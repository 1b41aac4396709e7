"""`cwm doctor`: every row says what, what for, and how to get it."""

import json
import subprocess
import sys

from cwm_core.cli import probes


def test_json_has_every_row(cwm_cli):
    done = cwm_cli("doctor", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    wanted = {"Python", "CPU cores", "Memory", "Disk", "CPU features", "torch", "GPU"}
    wanted |= {"flash-attn", "ray", "C compiler", "Docker engine", "bubblewrap", "uv", "git"}
    assert wanted <= set(rows)
    assert all(row["enables"] and row["get_it"] for row in rows.values())
    assert rows["Python"]["detail"].startswith(sys.version.split()[0])
    assert int(rows["CPU cores"]["detail"]) >= 1


def test_an_empty_path_finds_no_programs(cwm_cli):
    done = cwm_cli("doctor", env={"PATH": "/nonexistent", "CC": ""})
    assert done.returncode == 0
    for name in ("git", "uv", "bubblewrap", "C compiler", "Docker engine"):
        assert any(line.startswith(f"missing  {name} ") for line in done.stdout.splitlines())
    assert "apt install bubblewrap" in done.stdout


def test_probing_imports_nothing_heavy():
    code = (
        "import sys; from cwm_core.cli.probes import probe_all; probe_all()\n"
        "print([m for m in ('torch', 'ray', 'docker', 'openai', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_programs_that_hang_fail_or_lack_are_missing():
    assert probes._output([sys.executable, "-c", "import time; time.sleep(60)"], 0.2) == ""
    assert probes._output([sys.executable, "-c", "print(1); raise SystemExit(1)"]) == ""
    assert probes._output(["/nonexistent/program"]) == ""
    assert probes._output([sys.executable, "-c", "print(' x ')"]) == "x"
