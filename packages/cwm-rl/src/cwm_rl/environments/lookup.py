"""The environment `lookup`: a hidden value, a tool that knows it, and the answer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cwm_core.dialog.messages import Message
from cwm_core.dialog.tools import ToolCall, find_calls, render_call
from cwm_core.env.environment import Action, Observation, Task, Transition
from cwm_rl.environments.chat import Chat
from cwm_rl.environments.config import LookupConfig

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

TOOL: Final = "get"


@dataclass(frozen=True, slots=True)
class LookupState:
    """An episode: what is asked for, what is true, and whether the tool was used."""

    key: str
    value: str
    called: bool = False


class LookupEnvironment:
    """Two turns: a call of the tool, and the answer, which must be the value alone.

    The tool answers ``none`` for another name than the one asked for. `info` has ``called``,
    ``found`` (the right name was looked up) and ``right``. The reward is 1 for the right value.
    """

    def __init__(self, config: LookupConfig, tokenizer: Tokenizer | None) -> None:
        self._config = config
        self._chat = Chat(tokenizer, config.thinking)

    def tasks(self, split: str) -> Iterator[Task]:
        """Yield the tasks of a split; each carries its ``demonstration``."""
        draw = random.Random(f"{self._config.seed}:{split}")
        for number in range(self._config.tasks):
            key = f"k{draw.randrange(self._config.keys)}"
            value = str(draw.randrange(self._config.values))
            data = {
                "key": key,
                "value": value,
                "demonstration": [render_call(ToolCall(TOOL, key)), value],
            }
            yield Task(f"{split}-{number}", data, split=split)

    async def start(self, task: Task) -> Transition:
        """Ask for a value."""
        state = LookupState(task.data["key"], task.data["value"])
        return Transition(state, self._chat.prompt(Message.user(f"{state.key}?")), done=False)

    async def step(self, state: LookupState, action: Action) -> Transition:
        """Answer a call, or judge an answer."""
        said = self._chat.said(action)
        calls = find_calls(said).calls
        if calls and not state.called:
            found = calls[0].name == TOOL and calls[0].content.strip() == state.key
            shown = state.value if found else "none"
            message = Message.tool_result(TOOL, shown)
            after = LookupState(state.key, state.value, called=True)
            info = {"called": True, "found": found, "right": False}
            return Transition(after, self._chat.reply(action, message), False, None, info)
        right = said == state.value
        info = {"called": state.called, "right": right}
        return Transition(state, Observation(token_ids=()), True, float(right), info)
