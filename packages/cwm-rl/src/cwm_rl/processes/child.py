"""One process that the supervisor starts, and starts again when it dies."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cwm_core.errors import RunError
from cwm_rl.board.beacon import Sign, read_sign
from cwm_rl.board.files import RunFiles
from cwm_rl.processes.__main__ import REFUSED

BACKOFF_S = 0.5
"""Pause before a restart, doubled with each one that brought no progress."""


@dataclass
class Child:
    """A process of a run by its role."""

    name: str
    role: str
    index: int | None
    files: RunFiles
    launcher: str = ""
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    """Without progress in between."""
    deaths: int = 0
    not_before: float = 0.0
    started: float = 0.0
    done: bool = False

    def start(self) -> None:
        """Start the process; its output goes to ``processes/NAME.txt``."""
        (self.files.processes / f"{self.name}.error.json").unlink(missing_ok=True)
        program = shlex.split(self.launcher) or [sys.executable]
        words = [*program, "-m", "cwm_rl.processes", self.role, str(self.files.root)]
        words += [] if self.index is None else [str(self.index)]
        self.started = time.time()
        with (self.files.processes / f"{self.name}.txt").open("ab") as output:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """Return the exit code of a process that has ended and was not yet seen to, else `None`."""
        return None if self.process is None else self.process.poll()

    def sign(self) -> Sign | None:
        """Return the last sign of life of the process that runs now."""
        found = read_sign(self.files.processes, self.name)
        return found if found is not None and found.time >= self.started else None

    def silent_s(self) -> float:
        """Return the seconds since the last sign of life, or since the start."""
        sign = self.sign()
        return time.time() - (sign.time if sign is not None else self.started)

    def schedule_restart(self) -> None:
        """Let the process be started again after a pause."""
        self.process = None
        self.deaths += 1
        self.restarts += 1
        self.not_before = time.monotonic() + min(30.0, BACKOFF_S * 2 ** (self.restarts - 1))

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process and all that it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def stop(self, timeout_s: float) -> None:
        """End the process, by force when it does not obey in time."""
        if self.process is None:
            return
        self.kill(signal.SIGTERM)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        self.process = None

    def error(self, code: int) -> RunError | None:
        """Return why the process gave up, `None` if it was killed or crashed."""
        path = self.files.processes / f"{self.name}.error.json"
        if code != REFUSED and not path.exists():
            return None
        with contextlib.suppress(OSError, ValueError, KeyError):
            content = json.loads(path.read_text())
            return RunError(f"{self.name}: {content['message']}", content["hint"])
        return None

    def last_words(self) -> str:
        """Return the last line of the process's output."""
        path: Path = self.files.processes / f"{self.name}.txt"
        with contextlib.suppress(OSError):
            lines = path.read_text(errors="replace").strip().splitlines()
            return lines[-1] if lines else ""
        return ""
