"""Executor on processes of this machine."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import cast

from cwm_core.cores import usable_cores
from cwm_core.executor.body import Reply, WorkerBody
from cwm_core.executor.pool import PoolExecutor, Worker, WorkerDiedError

_SPAWN = multiprocessing.get_context("spawn")
"""Workers share nothing with this process: no threads, locks or CUDA contexts."""


class LocalExecutor(PoolExecutor):
    """Worker processes of this machine, each in a process group of its own.

    A worker that dies (killed, out of memory, `os._exit`) fails its item and is replaced. What an
    item started dies with its worker at a time-out, at the end, and when this process is killed.
    """

    def __init__(
        self, processes: int | None = None, timeout_s: float | None = None, retries: int = 0
    ) -> None:
        super().__init__(processes or usable_cores(), timeout_s, retries)
        atexit.register(self.close)

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        atexit.unregister(self.close)

    def spawn(self) -> Worker:
        """Begin to start a process."""
        return _Process()

    def wait(self, workers: Sequence[Worker], timeout_s: float | None) -> list[Worker]:
        """Wait for the workers' pipes, which also end when a process does."""
        by_pipe = {cast(_Process, worker).pipe: worker for worker in workers}
        ready = multiprocessing.connection.wait(list(by_pipe), timeout_s)
        return [by_pipe[cast(Connection, pipe)] for pipe in ready]


class _Process(Worker):
    def __init__(self) -> None:
        super().__init__()
        self.pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_work, args=(theirs,), name="cwm-worker")
        self._process.start()
        theirs.close()

    def send(self, request: str, content: bytes) -> None:
        try:
            self.pipe.send((request, content))
        except OSError as error:
            raise WorkerDiedError(self._epitaph()) from error

    def receive(self) -> Reply:
        try:
            return self.pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(self._epitaph()) from error

    def kill(self) -> None:
        if self.ready and self._process.pid:  # from then on it leads a process group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self.pipe.close()

    def _epitaph(self) -> str:
        self._process.join(5)
        code = self._process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            memory = ", perhaps because memory ran out" if name == "SIGKILL" else ""
            return f"the worker process was killed by {name}{memory}"
        return f"the worker process exited with status {code}"


def _work(pipe: Connection) -> None:
    """Serve items until the pipe closes."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    body = WorkerBody()
    reply = body.ready()
    with contextlib.suppress(EOFError, OSError):  # the parent closes the pipe at the end
        while True:
            pipe.send(reply)
            request, content = pipe.recv()
            reply = body.load(content) if request == "load" else body.run(content)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(os.getpgrp(), signal.SIGKILL)
