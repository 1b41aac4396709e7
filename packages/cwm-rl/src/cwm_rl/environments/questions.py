"""The environment `questions`: rows of a file, asked as a chat, with `python` as a tool."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cwm_core.dialog.messages import Message
from cwm_core.dialog.results import PythonResult
from cwm_core.dialog.tools import ToolSpec, announce_tools, find_calls
from cwm_core.env.environment import Action, Observation, Task, Transition
from cwm_core.errors import DataError
from cwm_core.sandbox.base import ExecResult, SandboxError
from cwm_rl.environments.chat import Chat
from cwm_rl.environments.config import QuestionsConfig

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

_PYTHON: Final = ToolSpec("python", "Runs a Python program and shows what it prints.", ("code",))
_SHOWN_CHARACTERS: Final = 4000


@dataclass(frozen=True, slots=True)
class Asked:
    """An episode: how many calls were made."""

    calls: int = 0


class QuestionsEnvironment:
    """One answer per question, after calls of `python` where these are allowed.

    `info` has ``answer``, what was said without the reasoning, and ``calls``. The environment
    itself gives no reward.
    """

    def __init__(self, config: QuestionsConfig, tokenizer: Tokenizer | None) -> None:
        self._config = config
        self._chat = Chat(tokenizer, config.thinking)
        self._rows = list(_read(config))

    def tasks(self, split: str) -> Iterator[Task]:
        """Yield the tasks of a split, in the order of the file."""
        for name, row in self._rows:
            if self._split(name) == split:
                yield Task(name, row, split=split)

    async def start(self, task: Task) -> Transition:
        """Ask the question."""
        config = self._config
        parts = [str(task.data[config.prompt]), config.instructions]
        if task.metadata.get("show_hint") and task.data.get(config.hint):
            parts.insert(1, f"Hint: {task.data[config.hint]}")
        system = [config.system] if config.system else []
        if config.python_calls:
            system.append(announce_tools([_PYTHON]))
        messages = [Message.system("\n\n".join(system))] if system else []
        messages.append(Message.user("\n\n".join(part for part in parts if part)))
        return Transition(Asked(), self._chat.prompt(*messages), done=False)

    async def step(self, state: Asked, action: Action) -> Transition:
        """Run a call, or take the answer."""
        said = self._chat.said(action)
        calls = find_calls(said).calls if self._config.python_calls else ()
        info = {"answer": said, "calls": state.calls}
        if not calls:
            return Transition(state, Observation(token_ids=()), True, None, info)
        if state.calls >= self._config.python_calls:
            result = PythonResult(error="no calls are left")
        elif calls[0].name != _PYTHON.name:
            result = PythonResult(error=f"there is no tool {calls[0].name!r}")
        else:
            result = await self._run(calls[0].content)
        message = Message.tool_result(_PYTHON.name, result.render())
        over = state.calls >= self._config.python_calls
        shown = self._chat.reply(action, message)
        return Transition(Asked(state.calls + 1), shown, over, None, info)

    async def _run(self, code: str) -> PythonResult:
        sandbox: Any = await asyncio.to_thread(self._config.sandbox.build)
        try:
            command = ["python3", "-I", "-"]
            done = await sandbox.exec(command, self._config.python_s, stdin=code.encode())
        except SandboxError as error:
            return PythonResult(error=str(error.message))
        finally:
            await sandbox.close()
        return _result(done, self._config.python_s)

    def _split(self, name: str) -> str:
        draw = random.Random(name).random()
        if draw < self._config.test:
            return "test"
        return "validation" if draw < self._config.test + self._config.validation else "train"


def _result(done: ExecResult, limit_s: float) -> PythonResult:
    if done.timed_out:
        return PythonResult(error=f"took longer than {limit_s:g} s")
    stderr = done.stderr.decode("utf-8", "backslashreplace")
    return PythonResult(done.text[:_SHOWN_CHARACTERS], stderr[-_SHOWN_CHARACTERS:])


def _read(config: QuestionsConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        data = config.data.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read {config.data}: {error}", "give JSON lines") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{config.data}, line {number} is no JSON: {error}") from error
        if not isinstance(row, dict) or config.prompt not in row:
            raise DataError(
                f"{config.data}, line {number} has no {config.prompt!r}",
                "name the key of the question with `prompt`",
            )
        yield str(row.get(config.id, number)), row
