"""Comparisons of mathematical answers in processes that can be killed."""

from __future__ import annotations

import asyncio
import json
import queue
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cwm_core.sandbox.base import SandboxError

START_S = 120.0
_WALL = 12
"""Times the CPU time: when a comparison is killed that sits in one long operation."""
_MOST_ANSWER = 20_000
"""Characters; a longer answer is none."""


class MathGrader:
    """Compares answers, a few at once; what takes more than `cpu_s` of CPU time is wrong.

    Raises:
        SandboxError: from `same`, when no process can be started.
    """

    def __init__(self, workers: int = 2, cpu_s: float = 10.0) -> None:
        self._cpu_s = cpu_s
        self._all = [_Worker() for _ in range(workers)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._all:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(workers, "math")

    async def same(self, gold: str, answer: str) -> bool | None:
        """Return whether two answers are the same; None when the comparison did not end."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.same_sync, gold, answer)

    def same_sync(self, gold: str, answer: str) -> bool | None:
        """Do as `same` does, from synchronous code."""
        if len(answer) > _MOST_ANSWER:
            return False
        worker = self._idle.get()
        try:
            return worker.ask({"gold": gold, "answer": answer, "cpu_s": self._cpu_s})
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End the processes."""
        self._threads.shutdown(cancel_futures=True)
        for worker in self._all:
            worker.kill()


class _Worker:
    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any]) -> bool | None:
        process = self._process or self._start()
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(_line(process, _WALL * request["cpu_s"]))["same"]
            return answer if answer is None else bool(answer)
        except (TimeoutError, ValueError, OSError):
            self.kill()
            return None
        except BaseException:
            self.kill()  # a late answer must not be taken for that of the next question
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "cwm_eval.grading.math_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._process = process
        try:
            if _line(process, START_S):
                return process
        except TimeoutError:
            pass
        self.kill()
        raise SandboxError(
            "the process that compares mathematical answers does not start",
            "pip install 'math-verify[antlr4_9_3]'",
        )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _line(process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
    """Return the next line of a process that writes whole lines; raises TimeoutError."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout_s)
    if not ready:
        raise TimeoutError
    return process.stdout.readline()
