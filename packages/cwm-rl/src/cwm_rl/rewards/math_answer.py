"""Mathematical equality, decided in a process that can be ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process

from cwm_core.env.environment import Task
from cwm_core.env.trajectory import Trajectory
from cwm_core.errors import DataError
from cwm_rl.rewards.config import MathAnswerConfig


class MathAnswer:
    """The reward of `MathAnswerConfig`; DataError for a task without the answer."""

    def __init__(self, config: MathAnswerConfig) -> None:
        self._config = config
        self._process: Process | None = None
        self._turn: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def score(self, task: Task, trajectory: Trajectory) -> float:
        """Compare the last boxed answer."""
        config = self._config
        if config.answer not in task.data:
            raise DataError(
                f"task {task.id!r} has no {config.answer!r} in its data",
                f"set the reward's answer to one of: {', '.join(sorted(task.data))}",
            )
        given = last_boxed(trajectory.final_text)
        if given is None:
            return config.wrong
        wanted = str(task.data[config.answer])
        equal = given.strip() == wanted.strip() or await self._equal(given, wanted)
        return config.right if equal else config.wrong

    async def _equal(self, given: str, wanted: str) -> bool:
        loop = asyncio.get_running_loop()
        if self._turn is None or self._loop is not loop:
            self._loop, self._turn, self._process = loop, asyncio.Lock(), None
        async with self._turn:
            if self._process is None:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "cwm_rl.rewards.math_process", stdin=PIPE, stdout=PIPE
                )
                await self._ask("1", "1", 120.0)  # the library takes long to import
            found = await self._ask(given, wanted, self._config.timeout_s)
        return bool(found)

    async def _ask(self, given: str, wanted: str, timeout_s: float) -> bool | None:
        """Return the answer of the process; `None`, and no process, when it fails."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return None
        try:
            async with asyncio.timeout(timeout_s):
                process.stdin.write(json.dumps([given, wanted]).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
                return bool(json.loads(line))
        except (TimeoutError, OSError, ValueError, asyncio.CancelledError) as error:
            self._process = None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            if isinstance(error, asyncio.CancelledError):
                raise
            await process.wait()
            return None


def last_boxed(text: str) -> str | None:
    """Return the content of the last ``\\boxed{}``, braces matched; `None` if there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for index in range(start + len("\\boxed"), len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start + len("\\boxed{") : index]
    return None
