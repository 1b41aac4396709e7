"""The grader: takes solutions and tests, gives verdicts; many at once, each in its own process."""

from __future__ import annotations

import asyncio
import os
import queue
import select
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from cwm_core.cores import usable_cores
from cwm_eval.grading.config import Grading
from cwm_eval.grading.inside import wire
from cwm_eval.grading.inside.channel import receive, send
from cwm_eval.grading.server import Ended, Job, Server, ServerGoneError, encode

JUDGE_WALL_S, JUDGE_MEMORY = 24 * 3600, 4 * 2**30
_JOBS_PER_JUDGE = 500
_SPARE_S = 30.0
_CHUNK = 1 << 16
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests found.

    `outcome` is ``passed``, ``wrong_answer``, ``exception`` (the solution raised), ``time``,
    ``died`` (its process ended early), ``no_value`` (it returned what is no plain value),
    ``output`` (it printed too much), ``no_code`` or ``test_error`` (the tests failed otherwise).
    Everything but ``passed`` is wrong.
    """

    outcome: str
    detail: str = ""
    cpu_s: float = 0.0
    """CPU time of the solution's process and its children."""
    memory_bytes: int = 0
    """Largest resident size of the solution's process."""

    @property
    def passed(self) -> bool:
        """Whether all tests passed."""
        return self.outcome == "passed"


@dataclass(frozen=True, slots=True)
class Tests:
    """Trusted tests of a solution: Python source that raises AssertionError for a wrong answer.

    `names` are those that the solution defines, `entry` is one more, known as ``candidate``; the
    tests also have ``evaluate(expression)``, ``data`` and `cwm_eval.grading.inside.oracles`.
    `reference` is trusted source that runs before (helpers, a reference solution).
    """

    __test__: ClassVar[bool] = False  # nothing for pytest to collect

    source: str
    entry: str = ""
    names: tuple[str, ...] = ()
    reference: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    may_raise: bool = False
    """Whether tests may handle exceptions of the solution; else each is a failure."""
    cpu_s: int | None = None
    """CPU time of the solution in seconds; None: the grader's."""


@dataclass(frozen=True, slots=True)
class Printed:
    """What a whole program printed."""

    stdout: bytes
    verdict: Verdict
    """``passed`` here means that it ended by itself, with code 0."""


class Grader:
    """A pool of pairs of sandboxes: one for solutions, one for tests.

    Verdicts do not depend on how many run at once: CPU time decides, a solution's random numbers
    and hashes are fixed, and nothing is shared between solutions. Usable from any thread and loop.

    Raises:
        SandboxError: from every method, when sandboxes do not start.
    """

    def __init__(self, config: Grading | None = None) -> None:
        self.config = config or Grading()
        self.workers = self.config.workers or usable_cores() * 3 // 2
        self._pairs: queue.SimpleQueue[_Pair] = queue.SimpleQueue()
        self._all = [_Pair(self.config) for _ in range(self.workers)]
        for pair in self._all:
            self._pairs.put(pair)
        self._threads = ThreadPoolExecutor(self.workers, "grading")

    async def check(self, code: str, tests: Tests) -> Verdict:
        """Run tests on a solution; whatever the solution does is a verdict."""
        return await self._in_thread(lambda pair: pair.check(code, tests))

    async def run(self, code: str, stdin: str, cpu_s: int | None = None) -> Printed:
        """Run a program on standard input and return what it prints."""
        return await self._in_thread(lambda pair: pair.run(code, stdin, cpu_s))

    def check_sync(self, code: str, tests: Tests) -> Verdict:
        """Run tests on a solution, from synchronous code."""
        return self._borrow(lambda pair: pair.check(code, tests))

    def run_sync(self, code: str, stdin: str, cpu_s: int | None = None) -> Printed:
        """Run a program, from synchronous code."""
        return self._borrow(lambda pair: pair.run(code, stdin, cpu_s))

    def close(self) -> None:
        """End all sandboxes."""
        self._threads.shutdown(cancel_futures=True)
        for pair in self._all:
            pair.close()

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def _in_thread(self, work: Callable[[_Pair], Value]) -> Value:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._borrow, work)

    def _borrow(self, work: Callable[[_Pair], Value]) -> Value:
        pair = self._pairs.get()
        try:
            return pair.again(work)
        finally:
            self._pairs.put(pair)


class _Pair:
    """A sandbox for solutions and one for tests."""

    def __init__(self, config: Grading) -> None:
        self._config = config
        self._guests: Server | None = None
        self._judges: Server | None = None
        self._judge: Job | None = None
        self._judged = 0

    def again(self, work: Callable[[_Pair], Value]) -> Value:
        """Work, and once more with new sandboxes when one of them is gone."""
        try:
            return work(self)
        except ServerGoneError:
            self.close()
            return work(self)

    def close(self) -> None:
        for server in (self._guests, self._judges):
            if server is not None:
                server.close()
        self._guests = self._judges = self._judge = None

    def check(self, code: str, tests: Tests) -> Verdict:
        limits = self._limits(tests.cpu_s)
        question = _tests(tests)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            peer = theirs.fileno()
            guest = self._guest_server().start("guest", limits, self._config.wall_s, peer)
            theirs.close()
            with guest:
                guest.send(encode({"code": code}))
                guest.confined()
                told = self._ask(question, ours)
                ended = guest.end()
        return _verdict(told, ended, limits["cpu_s"])

    def _ask(self, question: bytes, peer: socket.socket) -> Mapping[str, Any]:
        """Give the judge a job; one that does not answer is ended, and the solution is wrong."""
        judge = self._ready_judge()
        try:
            socket.send_fds(judge.control, [b"j"], [peer.fileno()])
            peer.close()
            send(judge.control, question)
            answer: Mapping[str, Any] = wire.loads(receive(judge.control))
            return answer
        except (OSError, wire.WireError) as error:
            judge.end()
            self._judge = None
            return {"outcome": "died", "detail": f"the tests could not go on: {error}"}

    def _ready_judge(self) -> Job:
        self._judged += 1
        if self._judge is not None and self._judged % _JOBS_PER_JUDGE == 0:
            self._judge.end()
            self._judge = None
        if self._judge is None:
            if self._judges is None:
                self._judges = Server(_judge_packages())
            self._judge = self._judges.start("judge", _judge_limits(), JUDGE_WALL_S)
            self._judge.confined()
        self._judge.control.settimeout(self._config.wall_s + _SPARE_S)
        return self._judge

    def run(self, code: str, stdin: str, cpu_s: int | None) -> Printed:
        limits = self._limits(cpu_s)
        payload = encode({"code": code, "stdin": stdin})
        read, write = os.pipe()
        with os.fdopen(read, "rb", 0) as output, os.fdopen(write, "wb", 0) as given:
            server = self._guest_server()
            with server.start("script", limits, self._config.wall_s, given.fileno()) as running:
                given.close()
                running.send(payload)
                running.confined()
                printed = _read(output.fileno(), self._config.output_bytes, self._config.wall_s)
                ended = running.end() if printed is None else running.wait()
        if printed is None:
            return Printed(b"", Verdict("output", "it printed too much", ended.cpu_s))
        told = {"outcome": "passed", "detail": ""}
        if ended.exit:
            told = {"outcome": "exception", "detail": f"exit code {ended.exit}"}
        return Printed(printed, _verdict(told, ended, limits["cpu_s"]))

    def _guest_server(self) -> Server:
        if self._guests is None:
            self._guests = Server(self._config.packages)
        return self._guests

    def _limits(self, cpu_s: int | None) -> dict[str, Any]:
        config = self._config
        return {
            "cpu_s": cpu_s or config.cpu_s,
            "memory_bytes": config.memory_bytes,
            "processes": config.processes,
            "disk_bytes": config.disk_bytes,
            "files": config.files,
            "open_files": config.open_files,
            "paths": [str(path) for path in config.packages],
        }


def _judge_limits() -> dict[str, Any]:
    return {
        "cpu_s": JUDGE_WALL_S,
        "memory_bytes": JUDGE_MEMORY,
        "processes": 32,
        "disk_bytes": 2**20,
        "files": 64,
        "open_files": 64,
        "paths": [str(path) for path in _judge_packages()],
    }


def _judge_packages() -> list[Any]:
    """Where numpy is: published tests of HumanEval+ and MBPP+ compare with it."""
    from importlib.util import find_spec
    from pathlib import Path

    found = find_spec("numpy")
    return [] if found is None or found.origin is None else [Path(found.origin).parents[1]]


def _tests(tests: Tests) -> bytes:
    return encode(
        {
            "tests": tests.source,
            "entry": tests.entry,
            "names": list(tests.names),
            "reference": tests.reference,
            "data": dict(tests.data),
            "may_raise": tests.may_raise,
        }
    )


def _verdict(told: Mapping[str, Any], ended: Ended, cpu_s: int) -> Verdict:
    outcome, detail = str(told["outcome"]), str(told["detail"])
    # The end of an idle guest is ours; only one that came before the verdict explains it.
    if outcome not in ("passed", "wrong_answer", "no_value"):
        if ended.killed == "time":
            outcome, detail = "time", "its time is over"
        elif ended.exit == -9 and not ended.killed and ended.cpu_s >= cpu_s / 2:
            # Nothing inside can kill the first process of a namespace, so it was the kernel: for
            # its CPU time, of which the limit counts whole ticks and `cpu_s` what was really used.
            outcome, detail = "time", f"{cpu_s} s of CPU time are used up"
    return Verdict(outcome, detail, ended.cpu_s, ended.memory_bytes)


def _read(fd: int, most: int, wall_s: float) -> bytes | None:
    """Read a pipe to its end; None when more than `most` bytes come."""
    parts, size, end = [], 0, time.monotonic() + wall_s + 60
    while time.monotonic() < end:
        ready, _, _ = select.select([fd], [], [], 1.0)
        if not ready:
            continue
        part = os.read(fd, _CHUNK)
        if not part:
            break
        size += len(part)
        if size > most:
            return None
        parts.append(part)
    return b"".join(parts)
