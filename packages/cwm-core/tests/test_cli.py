"""The root of `cwm`: light help, clear errors, exit codes, signals."""

import json
import signal
import subprocess
import sys

import pytest

HEAVY = (
    "torch", "hydra", "omegaconf", "datasets", "openai", "pydantic", "pyarrow", "rich", "typer",
    "numpy", "ray", "docker", "transformers", "tokenizers",
)  # fmt: skip
LOADED = """
import json, sys
from cwm_core.cli.main import run
code = run({arguments!r})
print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]))
"""
PLUGIN = """
from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command

@hookimpl
def cwm_commands():
    return [Command("probe", "probe_cli:probe", "Probe.")]
"""
CLI = """
import os, time, typer
from typing import Annotated
from pathlib import Path
from cwm_core.errors import DataError

def probe(what: str, out: Annotated[Path | None, typer.Option()] = None):
    if what == "user-error":
        raise DataError("the file is bad", "write a good one")
    if what == "bug":
        raise ZeroDivisionError("deep down")
    if what == "exit":
        raise typer.Exit(7)
    if what == "bug-in-run":
        from cwm_core.config import CommandConfig
        from cwm_core.rundir import open_run
        class Config(CommandConfig):
            out: Path
        with open_run(out, "probe", Config(out=out)):
            raise ZeroDivisionError("deep down")
    if what == "sleep":
        from cwm_core.config import CommandConfig
        from cwm_core.rundir import open_run
        class Config(CommandConfig):
            out: Path
        with open_run(out, "probe", Config(out=out)) as run:
            run.log("said once")
            print("ready", flush=True)
            time.sleep(60)
"""


@pytest.fixture
def probe(make_plugin):
    make_plugin("probe-dist", {"probe_plugin": PLUGIN, "probe_cli": CLI}, "probe_plugin")


@pytest.mark.parametrize("arguments", [["--help"], [], ["--version"], ["-h"], ["--oops"]])
def test_help_loads_nothing_heavy(arguments):
    code = LOADED.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    exit_code, loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded == []
    assert exit_code == (2 if arguments == ["--oops"] else 0)


def test_help_lists_commands_with_summaries(cwm_cli):
    page = cwm_cli("--help").stdout
    assert "Usage: cwm" in page and "--debug" in page
    for name in ("quickstart", "run", "doctor", "plugins"):
        assert f"\n  {name} " in page


def test_unknown_commands_and_options_suggest(cwm_cli):
    done = cwm_cli("pluggins")
    assert done.returncode == 2 and "did you mean 'plugins'?" in done.stderr
    done = cwm_cli("--versoin")
    assert done.returncode == 2 and "did you mean '--version'?" in done.stderr
    done = cwm_cli("plugins", "--jsom")
    assert done.returncode == 2 and "--json" in done.stderr


def test_a_command_of_a_missing_package_says_what_to_install(cwm_cli):
    done = cwm_cli("trace", env={"CWM_DISABLED_PLUGINS": "cwm-tracer"})
    assert done.returncode == 2 and "cwm-tracer" in done.stderr


def test_user_errors(probe, cwm_cli):
    done = cwm_cli("probe", "user-error")
    assert done.returncode == 2
    assert done.stderr == "Error: the file is bad\n  hint: write a good one\n"
    debug = cwm_cli("--debug", "probe", "user-error")
    assert debug.returncode == 2 and "Traceback" in debug.stderr
    assert "Traceback" in cwm_cli("probe", "user-error", env={"CWM_DEBUG": "1"}).stderr


def test_bugs(probe, cwm_cli):
    done = cwm_cli("probe", "bug")
    assert done.returncode == 1
    assert "ZeroDivisionError: deep down" in done.stderr and "--debug" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in cwm_cli("--debug", "probe", "bug").stderr


def test_bugs_in_a_run_leave_their_traceback_in_its_log(probe, cwm_cli, tmp_path):
    done = cwm_cli("probe", "bug-in-run", "--out", str(tmp_path / "run"))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Traceback" in (tmp_path / "run" / "log.txt").read_text()


def test_exit_codes_of_commands_pass_through(probe, cwm_cli):
    assert cwm_cli("probe", "exit").returncode == 7
    assert cwm_cli("probe").returncode == 2


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_signals_stop_a_run_that_can_be_continued(probe, tmp_path, number, code):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "cwm_core", "probe", "sleep", "--out", str(out)]
    for _ in range(2):
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code
        assert "Traceback" not in errors
        state = json.loads((out / "status.json").read_text())["state"]
        assert state == ("running" if number == signal.SIGKILL else "stopped")
        if number != signal.SIGKILL:
            assert errors.strip().splitlines() == [
                "said once",
                "Stopped; the same command continues where it was.",
            ]
    assert json.loads((out / "status.json").read_text())["starts"] == 2


def test_a_closed_pipe_is_no_error(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "cwm_core", "plugins", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.wait(60)
    assert "Traceback" not in errors and "Unexpected" not in errors


def test_shell_completion_knows_commands(cwm_cli):
    done = cwm_cli(
        env={"_CWM_COMPLETE": "complete_bash", "COMP_WORDS": "cwm plug", "COMP_CWORD": "1"}
    )
    assert "plugins" in done.stdout


def test_plugins_shows_kinds_and_refuses_unknown_ones(cwm_cli):
    listed = json.loads(cwm_cli("plugins", "--json").stdout)
    assert {"entry_point", "distribution", "version", "components", "problems"} <= set(listed[0])
    done = cwm_cli("plugins", "optimizer")
    assert done.returncode == 2 and "did you mean 'optimizers'" in done.stderr


def test_forked_children_die_of_sigterm_quietly():
    code = """
import os, signal, sys, time
from cwm_core.cli.main import _catch_sigterm
_catch_sigterm()
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
time.sleep(0.3)
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(-signal.SIGTERM) and done.stderr == ""


def test_every_command_of_a_process_shows_a_warning_once():
    code = """
import logging
from cwm_core.cli import main
import cwm_core.cli.doctor as doctor
doctor.probe_all = lambda: logging.getLogger("cwm_core").warning("said once") or []
for _ in range(3):
    main.run(["doctor", "--json"])
assert not logging.getLogger().handlers
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["WARNING: said once"] * 3
