"""Recipes: params, arithmetic, stages that are skipped, resumed, rerun and stopped."""

import contextlib
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cwm_core.cli.recipe import load_recipe, recipe_names
from cwm_core.cli.stages import run_recipe
from cwm_core.config.calc import calc
from cwm_core.errors import ConfigError, CwmError, RunError

PLUGIN = """
from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command

@hookimpl
def cwm_commands():
    return [Command("note", "note_cli:note", "Append a line.")]
"""
CLI = """
import sys, time
from pathlib import Path

def note(words: list[str]):
    values = dict(word.split("=", 1) for word in words if "=" in word)
    with Path(values["log"]).open("a") as file:
        file.write(values["text"] + "\\n")
    if "make" in values:
        Path(values["make"]).write_text(values["text"])
    if values.get("fail") and Path(values["fail"]).exists():
        sys.exit(3)
    if values.get("wait") and Path(values["wait"]).exists():
        try:
            print("waiting", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            Path(values["wait"]).unlink()
            raise
"""
RECIPE = """
summary: Notes.
params:
  out: {out}
  minutes: 10
  share: 0.7
  extra: null
  seconds: ${{calc:"int(${{share}} * ${{minutes}} * 60)"}}
stages:
  - name: first
    command: note
    args: [fixed]
    overrides: {{log: "${{out}}/log", text: first, make: "${{out}}/first.txt"}}
    outputs: ["${{out}}/first.txt"]
  - name: second
    command: note
    overrides:
      log: ${{out}}/log
      text: s${{seconds}}
      fail: ${{out}}/fail
      wait: ${{out}}/wait
  - name: optional
    command: note
    when: ${{extra}}
    overrides: {{log: "${{out}}/log", text: "${{extra}}"}}
  - name: otherwise
    command: note
    unless: ${{extra}}
    overrides: {{log: "${{out}}/log", text: otherwise}}
"""


@pytest.fixture
def notes(make_plugin, tmp_path):
    make_plugin("note-dist", {"note_plugin": PLUGIN, "note_cli": CLI}, "note_plugin")
    (tmp_path / "notes.yaml").write_text(RECIPE.format(out=tmp_path / "out"))
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def run_notes(folder, *params):
    run_recipe(load_recipe(str(folder / "notes.yaml"), list(params)))


def log_of(out):
    return (out / "log").read_text().split()


def test_stages_run_in_order_once(notes, tmp_path, cwm_cli):
    (tmp_path / "random.py").write_text("raise RuntimeError('the wrong module')")
    done = cwm_cli("run", "notes.yaml")
    assert done.returncode == 0, done.stderr
    assert log_of(notes) == ["first", "s420", "otherwise"]
    assert "[1/3] first: cwm note fixed" in done.stderr
    again = cwm_cli("run", "notes.yaml")
    assert again.returncode == 0 and "[3/3] otherwise: done before" in again.stderr
    assert len(log_of(notes)) == 3


def test_a_failed_stage_is_where_the_next_start_continues(notes, tmp_path):
    (notes / "fail").touch()
    with pytest.raises(RunError, match="stage 'second' ended with exit code 3"):
        run_notes(tmp_path)
    (notes / "fail").unlink()
    run_notes(tmp_path)
    assert log_of(notes) == ["first", "s420", "s420", "otherwise"]


def test_a_changed_stage_runs_again_with_all_behind_it(notes, tmp_path):
    run_notes(tmp_path)
    run_notes(tmp_path, "share=0.5", "extra=more")
    assert log_of(notes)[3:] == ["s300", "more"]
    (notes / "first.txt").unlink()
    run_notes(tmp_path, "share=0.5", "extra=more")
    assert (notes / "first.txt").read_text() == "first", "a lost output is made again"
    assert log_of(notes)[5:] == ["first"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_reaches_the_stage_and_a_second_start_continues(
    notes, tmp_path, cwm_cli, number, code
):
    (notes / "wait").touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "cwm_core", "run", "notes.yaml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert not (notes / "wait").exists(), "the stage saw no interrupt"
    assert cwm_cli("run", "notes.yaml").returncode == 0
    assert log_of(notes) == ["first", "s420", "s420", "otherwise"]


def test_dry_run_prints_commands_and_does_nothing(notes, cwm_cli):
    done = cwm_cli("run", "notes.yaml", "--dry-run", "minutes=1", "extra='two words'")
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["note"] * 3
    assert "text=s42" in lines[1] and "'text=\"two words\"'" in lines[2]
    assert not (notes / "log").exists()


MISTAKES = [
    ("minute=3", "unknown param 'minute' in recipe", "did you mean 'minutes'"),
    ("minutes=fast", "wrong value for 'minutes'", "expected int, got 'fast'"),
    ("minutes=true", "wrong value for 'minutes'", "expected int"),
    ("share=1,2", "is a sweep", ""),
    ("minutes", "cannot read 'minutes'", ""),
]


@pytest.mark.parametrize(("override", "message", "more"), MISTAKES)
def test_wrong_params(notes, tmp_path, override, message, more):
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(tmp_path / "notes.yaml"), [override])
    assert message in str(caught.value) and more in str(caught.value)


BAD = {
    "params: {out: x}": "missing value for 'stages'",
    "params: {out: x}\nstages: [{name: a, comand: note}]": "did you mean 'stages.0.command'",
    "params: {out: x}\nstages: [{name: a, command: nothing}]": "unknown command 'nothing'",
    "params: {out: x}\nstages: [{name: a b, command: note}]": "wrong value for 'stages.0.name'",
    "params: {}\nstages: []": "no param 'out'",
    "params: {out: '${nope}'}\nstages: []": "'nope' not found",
    "params: {out: x, n: '${calc:\"open(1)\"}'}\nstages: []": "cannot calculate 'open(1)'",
    "params: {out: x}\nstages: [{name: a, command: note}, {name: a, command: note}]": "named 'a'",
    "params: [": "no valid YAML at line 1",
}


@pytest.mark.parametrize("text", BAD)
def test_malformed_recipes(notes, tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(CwmError) as caught:
        load_recipe(str(tmp_path / "bad.yaml"), [])
    assert BAD[text] in str(caught.value)


def test_unknown_recipe_suggests():
    with pytest.raises(ConfigError, match="did you mean 'quickstart'"):
        load_recipe("quickstrat", [])
    assert "quickstart" in recipe_names()


def test_a_launcher_starts_the_command(notes, tmp_path, cwm_cli):
    recipe = tmp_path / "notes.yaml"
    text = recipe.read_text().replace(
        "command: note\n", 'command: note\n    launcher: "${launch}"\n'
    )
    recipe.write_text(text.replace("  minutes: 10\n", "  minutes: 10\n  launch: ''\n"))
    shown = cwm_cli("run", "notes.yaml", "launch=torchrun --nproc-per-node 2", "--dry-run")
    assert shown.stdout.startswith("torchrun --nproc-per-node 2 -m cwm_core note fixed ")
    run_notes(tmp_path, f"launch={sys.executable} -P")
    assert log_of(notes) == ["first", "s420", "otherwise"]
    with pytest.raises(ConfigError, match="launcher 'nosuchlauncher' is not found"):
        run_notes(tmp_path, "launch=nosuchlauncher", "minutes=20")


def test_outputs_outside_the_recipe_are_never_removed(notes, tmp_path):
    outside = tmp_path / "precious.txt"
    text = RECIPE.format(out=notes).replace("${out}/first.txt", str(outside))
    (tmp_path / "notes.yaml").write_text(text)
    run_notes(tmp_path)
    (tmp_path / "notes.yaml").write_text(text.replace("text: first", "text: changed"))
    with pytest.raises(ConfigError, match="outside"):
        run_notes(tmp_path)
    assert outside.read_text() == "first"


def test_quickstart_checks_its_options(cwm_cli):
    assert "positive" in cwm_cli("quickstart", "--minutes", "0").stderr
    done = cwm_cli("quickstart", "--cruxeval", "missing.jsonl")
    assert done.returncode == 2 and "no file 'missing.jsonl'" in done.stderr


# arithmetic

CASES = {
    "1 + 2 * 3": 7,
    "int(0.7 * 10 * 60)": 420,
    "-2 ** 2": -4,
    "7 // 2 + 7 % 4": 6,
    "max(1, 2.5)": 2.5,
    "1 < 2 < 3": True,
    "1 if 0 else 2": 2,
    "0 or 5": 5,
    "1 and 0": 0,
    "not 0": True,
    "'a' == 'a'": True,
    "None == None": True,
    "round(2.567, 1)": 2.6,
}


@pytest.mark.parametrize("expression", CASES)
def test_calc(expression):
    assert calc(expression) == CASES[expression]


@pytest.mark.parametrize(
    "expression",
    ["__import__('os')", "().__class__", "a", "1 +", "2 ** 1000", "'x' * 9", "[1]", "f'{1}'",
     "lambda: 1", "1 / 0", "open('x')", "max(key=1)", "", "(" * 500, "1" * 2000],
)  # fmt: skip
def test_calc_refuses(expression):
    with pytest.raises(ConfigError, match="cannot calculate"):
        calc(expression)


@settings(max_examples=200)
@given(st.text(max_size=40))
def test_calc_answers_any_text_with_a_value_or_its_own_error(text):
    with contextlib.suppress(ConfigError):
        assert isinstance(calc(text), (int, float, str, bool, type(None)))
