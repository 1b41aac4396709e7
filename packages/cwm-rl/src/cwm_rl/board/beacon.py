"""A process's signs of life: what it does, for whom it waits and since when.

``processes/NAME.json`` is replaced about once a second; ``processes/NAME.timeline.jsonl`` has one
line per stretch of time: when it began, how long it was, and what was done.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

from cwm_core.appended import AppendedLines
from cwm_core.atomic import disk_errors
from cwm_core.errors import DataError
from cwm_rl.board.files import Published, RunFiles, read_json, replace_quickly

Loaded = TypeVar("Loaded")
INTERVAL_S = 0.5
"""Between signs of life."""
SHORTEST_S = 0.02
"""Stretches below are counted to the next."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A process's last sign of life."""

    pid: int
    time: float
    """Seconds since the epoch."""
    doing: str
    since: float
    """When it began to do so."""
    waits_for: str = ""
    """The process that it waits for; empty if it works."""
    info: dict[str, Any] = field(default_factory=dict)


class Beacon:
    """Gives the signs of life of one process, from a thread of its own, until it is closed.

    The process ends when the one that started it is gone: nobody would look after it.
    """

    def __init__(self, directory: Path, name: str) -> None:
        with disk_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / f"{name}.json"
        self._timeline_path = directory / f"{name}.timeline.jsonl"
        _cut_half_line(self._timeline_path)
        self._timeline: IO[str] = self._timeline_path.open("a")
        self._lock = threading.Lock()
        self._doing, self._waits_for, self._since = "starts", "", time.time()
        self.info: dict[str, Any] = {}
        """Shown with the sign."""
        self.refresh: Callable[[], None] | None = None
        """Called before every sign, to say what is done now."""
        self._parent = os.getppid()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="beacon", daemon=True)
        self._thread.start()

    def does(self, what: str, waits_for: str = "") -> None:
        """Say what is done from now on, and for which process it waits."""
        with self._lock:
            if (what, waits_for) != (self._doing, self._waits_for):
                self._end_stretch()
                self._doing, self._waits_for = what, waits_for

    @contextmanager
    def doing(self, what: str, waits_for: str = "") -> Iterator[None]:
        """Say what is done in the block; then it is again what it was before."""
        before = self._doing, self._waits_for
        self.does(what, waits_for)
        try:
            yield
        finally:
            self.does(*before)

    def close(self) -> None:
        """Give the last sign."""
        self._closed.set()
        self._thread.join()
        with self._lock:
            self._end_stretch()
            self._timeline.close()

    def _beat(self) -> None:
        while True:
            refresh = self.refresh
            if refresh is not None:
                with suppress(RuntimeError):  # a collection changed while it was read
                    refresh()
            with self._lock:
                sign = Sign(
                    os.getpid(), time.time(), self._doing, self._since, self._waits_for, self.info
                )
                self._timeline.flush()
            replace_quickly(self._path, asdict(sign))
            if self._closed.wait(INTERVAL_S):
                return
            if os.getppid() != self._parent:
                os._exit(1)

    def _end_stretch(self) -> None:
        now = time.time()
        if now - self._since < SHORTEST_S:
            return
        line = {"t": round(self._since, 3), "s": round(now - self._since, 3), "what": self._doing}
        if self._waits_for:
            line["waits_for"] = self._waits_for
        self._timeline.write(json.dumps(line) + "\n")
        self._since = now


def read_sign(directory: Path, name: str) -> Sign | None:
    """Return a process's last sign of life; `None` if it has given none."""
    try:
        content = read_json(directory / f"{name}.json")
        return None if content is None else Sign(**content)
    except (DataError, TypeError):
        return None


def wait_for_weights(files: RunFiles, beacon: Beacon) -> Published:
    """Return the published weights; wait until there are some."""
    with beacon.doing("waits for the first weights", "trainer"):
        while (published := Published.read(files.current)) is None:
            time.sleep(0.1)
    return published


def load_newest(files: RunFiles, beacon: Beacon, load: Callable[[Path], Loaded]) -> Loaded:
    """Return what `load` makes of the published model directory; wait until there is one.

    The trainer keeps few versions: one that disappears while it is read was replaced, and the
    newer one is loaded.
    """
    while True:
        published = wait_for_weights(files, beacon)
        try:
            return load(Path(published.path))
        except DataError:
            if Published.read(files.current) == published:
                raise


def _cut_half_line(path: Path) -> None:
    with AppendedLines(path):
        pass
