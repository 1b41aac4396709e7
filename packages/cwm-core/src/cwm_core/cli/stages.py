"""Run the stages of a recipe, each in a process of its own; finished ones are not repeated."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from cwm_core.atomic import atomic_write, disk_errors
from cwm_core.cli.main import INTERRUPTED, TERMINATED, received_sigterm
from cwm_core.cli.recipe import Recipe, Stage
from cwm_core.errors import ConfigError, RunError
from cwm_core.progress import say
from cwm_core.runlock import RunLock

GRACE_S = 120.0


def run_recipe(recipe: Recipe) -> None:
    """Run all stages that are not done yet.

    A marker per stage holds the hash of its command line and of all before it: after a change
    the stage and those behind it run again, from scratch. Raises RunError when a stage fails and
    KeyboardInterrupt when it was stopped; the next call continues there.
    """
    with disk_errors(recipe.out):
        recipe.out.mkdir(parents=True, exist_ok=True)
    with RunLock(recipe.out):
        digest = ""
        for number, stage in enumerate(recipe.stages, start=1):
            digest = _digest(digest, stage)
            title = f"[{number}/{len(recipe.stages)}] {stage.name}"
            _run_unless_done(recipe, stage, digest, title)


def command_line(stage: Stage) -> str:
    """Return the stage as one would type it."""
    start = (*stage.launcher, "-m", "cwm_core") if stage.launcher else ("cwm",)
    return shlex.join((*start, *stage.words))


def _digest(before: str, stage: Stage) -> str:
    content = json.dumps([before, stage.words, [str(path) for path in stage.outputs]])
    return hashlib.sha256(content.encode()).hexdigest()


def _run_unless_done(recipe: Recipe, stage: Stage, digest: str, title: str) -> None:
    marker = recipe.out / "stages" / f"{stage.name}.json"
    state = _read_marker(marker)
    missing = [path for path in stage.outputs if not path.exists()]
    if state == (digest, "done") and not missing:
        say(f"{title}: done before")
        return
    if state[0] not in ("", digest):
        _remove_outputs(recipe, stage)
    say(f"{title}: {command_line(stage)}")
    _write_marker(marker, digest, "started")
    _execute(stage)
    _require_outputs(stage)
    _write_marker(marker, digest, "done")


def _read_marker(path: Path) -> tuple[str, str]:
    try:
        marker = json.loads(path.read_text())
        return str(marker["digest"]), str(marker["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", ""


def _write_marker(path: Path, digest: str, state: str) -> None:
    atomic_write(path, json.dumps({"digest": digest, "state": state}) + "\n")


def _remove_outputs(recipe: Recipe, stage: Stage) -> None:
    """Clear what an older version of the stage made; only inside the recipe's directory."""
    root = recipe.out.resolve()
    for path in stage.outputs:
        if root not in path.resolve().parents:
            raise ConfigError(
                f"stage '{stage.name}' changed, but its output '{path}' is outside '{recipe.out}'",
                "remove it yourself, or give another out=",
            )
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _require_outputs(stage: Stage) -> None:
    for path in stage.outputs:
        if not path.exists():
            raise RunError(f"stage '{stage.name}' ended well but did not make '{path}'")


def _execute(stage: Stage) -> None:
    """Run the stage; its own process group, so that it gets every signal once, from us."""
    if stage.launcher and shutil.which(stage.launcher[0]) is None:
        raise ConfigError(
            f"stage '{stage.name}': the launcher '{stage.launcher[0]}' is not found",
            "install it, or give the param launcher= another value",
        )
    command = [*(stage.launcher or (sys.executable, "-P")), "-m", "cwm_core", *stage.words]
    with subprocess.Popen(command, process_group=0) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            _stop(process)
            raise
    if code in (INTERRUPTED, TERMINATED, -signal.SIGINT, -signal.SIGTERM):
        raise KeyboardInterrupt
    if code != 0:
        ending = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise RunError(
            f"stage '{stage.name}' {ending}: {command_line(stage)}",
            "its message is above; the same command continues with this stage",
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM if received_sigterm() else signal.SIGINT)
    try:
        process.wait(GRACE_S)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        process.kill()
        process.wait()
