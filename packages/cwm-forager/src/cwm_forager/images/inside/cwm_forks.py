# mypy: ignore-errors
# ruff: noqa: PTH103, PTH108, PTH112, PTH118, PTH119, PTH120, PTH123, PTH208
"""Runs a batch of test runs, each in a fork of one warm process, with some files changed.

The argument is a JSON file::

    modules   modules to import beforehand; those that cannot be imported are left out
    command   arguments of pytest
    root      directory of the repository, where the runs happen
    plugins   directory of the plugin cwm_probe
    jobs      list of {id, files {path: text or null}, settings (cwm_probe's), limit_s}
    results   file to append one line per job to: {id, status, seconds}
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import signal
import sys
import time
import traceback


def main(path):
    """Run the batch."""
    with open(path, "rb") as file:
        batch = json.loads(file.read().decode("utf-8"))
    os.chdir(batch["root"])
    sys.path[0] = batch["root"]  # as `python -m pytest` has it
    sys.path.insert(1, batch["plugins"])
    sys.dont_write_bytecode = True
    for name in ["pytest", *batch["modules"]]:
        try:
            importlib.import_module(name)
        except BaseException:
            continue
    gc.freeze()
    for job in batch["jobs"]:
        started = time.monotonic()
        originals = change(job["files"])
        try:
            status = run(job, batch["command"])
        finally:
            change(originals)
        line = {"id": job["id"], "status": status, "seconds": time.monotonic() - started}
        with open(batch["results"], "a", encoding="ascii") as file:
            file.write(json.dumps(line) + "\n")


def change(files):
    """Write files, or delete those that are None; returns what was there."""
    originals = {}
    for path, text in files.items():
        try:
            with open(path, encoding="utf-8", newline="") as file:
                originals[path] = file.read()
        except OSError:
            originals[path] = None
        if text is None:
            os.unlink(path)
        else:
            with open(path, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        forget_bytecode(path)
    return originals


def forget_bytecode(path):
    """Delete what was compiled from a file: another version of the same size may look current."""
    directory = os.path.join(os.path.dirname(path), "__pycache__")
    stem = os.path.basename(path)[: -len(".py")] + "."
    if os.path.isdir(directory):
        for name in os.listdir(directory):
            if name.startswith(stem):
                os.unlink(os.path.join(directory, name))


def run(job, command):
    """Run pytest in a fork; returns its status, or ``"timeout"``."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            place = os.path.dirname(job["settings"]["out"])
            os.makedirs(place, exist_ok=True)
            settings = os.path.join(place, "settings.json")
            with open(settings, "w", encoding="ascii") as file:
                json.dump(job["settings"], file)
            os.environ["CWM_PROBE"] = settings
            sys.argv = ["pytest", *command]
            import pytest

            os._exit(int(pytest.main(command)) & 0x7F)
        except BaseException:
            with open(job["settings"]["out"] + ".crash", "w", encoding="utf-8") as file:
                traceback.print_exc(file=file)
            os._exit(99)
    status = waited(child, time.monotonic() + job["limit_s"])
    with contextlib.suppress(OSError):
        os.killpg(child, signal.SIGKILL)
    return status


def waited(child, deadline):
    """Wait for a process; kill its group at the deadline."""
    pause = 0.002
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "timeout"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


if __name__ == "__main__":
    main(sys.argv[1])
