"""The processes below one of this machine's, and an end for those that are new."""

from __future__ import annotations

import contextlib
import time

import psutil

ROUNDS = 100
"""How often new processes are looked for, at most."""


class Descendants:
    """Everything below a process that holds a pid namespace: what is orphaned stays below it."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._keepers = set(self._alive())
        """The root, the namespace's first process, and the shell."""
        self._marked = self._keepers

    def mark(self) -> None:
        """Remember which processes there are."""
        self._marked = set(self._alive())

    def kill_new(self) -> bool:
        """Kill what was started since the mark, but what older background jobs started.

        Returns whether all of it is gone.
        """
        for _ in range(ROUNDS):
            new = [process for process in self._alive() if self._is_new(process)]
            if not new:
                return True
            for process in new:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.005)
        return False

    def kill_all(self) -> None:
        """Kill the root and everything below it."""
        for process in self._alive():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _alive(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self._root, *filter(_runs, self._root.children(recursive=True))]
        return []

    def _is_new(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            above: psutil.Process | None = process
            while above is not None and above not in self._marked:
                above = above.parent()
            return above is not process and (above is None or above in self._keepers)
        return False


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False
