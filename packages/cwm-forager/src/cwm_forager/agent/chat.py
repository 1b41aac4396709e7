"""An agent behind a chat server, with tools as OpenAI functions."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from cwm_core.dialog.messages import Dialog, Message
from cwm_core.dialog.openai import from_openai, to_openai
from cwm_core.dialog.tools import ToolSpec
from cwm_core.engine.base import EngineError
from cwm_core.env.environment import Action, Observation
from cwm_core.errors import CwmError
from cwm_forager.agent.config import Chat
from cwm_forager.agent.tools import TOOLS

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class ChatAgent:
    """Tells the episode as chat messages and takes the reply's tool calls as CWM's.

    Raises:
        EngineError: from `act`, when the server fails or answers with no message.
    """

    def __init__(self, config: Chat) -> None:
        self.config = config
        self._client: AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._model = config.model

    async def act(
        self, observations: tuple[Observation, ...], actions: tuple[Action, ...]
    ) -> Action:
        """Ask for the next message."""
        messages = to_openai(dialog_of(observations, actions), SPECS)
        try:
            reply = await self._ask(messages)
        except CwmError:
            raise
        except Exception as error:
            raise EngineError(f"{self.config.base_url} failed: {error}", _HINT) from error
        choice = (reply.get("choices") or [{}])[0]
        message = choice.get("message")
        if not isinstance(message, dict):
            raise EngineError(f"{self.config.base_url} answered without a message", _HINT)
        return Action(_as_text(message), finish_reason=choice.get("finish_reason"))

    async def _ask(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        client = self._connect()
        if not self._model:
            self._model = (await client.models.list()).data[0].id
        body = {
            "model": self._model,
            "messages": messages,
            "tools": FUNCTIONS,
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
        }
        answer = await client.post("/chat/completions", cast_to=object, body=body)
        if not isinstance(answer, dict):
            raise EngineError(f"{self.config.base_url} answered with no JSON object", _HINT)
        return answer

    def _connect(self) -> AsyncOpenAI:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            from openai import AsyncOpenAI

            self._loop = loop
            self._client = AsyncOpenAI(
                base_url=self.config.base_url,
                api_key=os.environ.get(self.config.api_key_env) or "none",
                timeout=self.config.timeout_s,
                max_retries=self.config.retries,
            )
        return self._client


_HINT = "check agent.base_url and agent.model; the server must know tools"


def openai_function(spec: ToolSpec) -> dict[str, Any]:
    """Return a tool as an OpenAI function whose arguments are all required texts."""
    properties = {name: {"type": "string"} for name in spec.parameters}
    parameters = {"type": "object", "properties": properties, "required": list(spec.parameters)}
    function = {"name": spec.name, "description": spec.description, "parameters": parameters}
    return {"type": "function", "function": function}


SPECS = tuple(spec for spec, _ in TOOLS.values())
FUNCTIONS = [openai_function(spec) for spec in SPECS]


def dialog_of(observations: tuple[Observation, ...], actions: tuple[Action, ...]) -> Dialog:
    """Return an episode as a conversation; a turn without a call was answered by the user."""
    messages = [Message.user(observations[0].text)]
    for action, observation in zip(actions, observations[1:], strict=True):
        spoken = Message.assistant(action.text)
        messages.append(spoken)
        calls = spoken.calls
        if calls:
            messages.append(Message.tool_result(calls[0].name, observation.text))
        elif observation.text:
            messages.append(Message.user(observation.text))
    return Dialog(tuple(messages))


def _as_text(message: dict[str, Any]) -> str:
    """Return a chat message as CWM text; what cannot be said so is passed on as it is."""
    try:
        dialog = from_openai([{**message, "role": "assistant"}], SPECS, announce=False)
    except CwmError:
        return str(message.get("content") or "")
    return dialog.messages[0].content
