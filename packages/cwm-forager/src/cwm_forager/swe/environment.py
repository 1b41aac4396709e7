"""The environment `swe`: an agent with tools in a sandbox, judged on the trusted side."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cwm_core.dialog.messages import Message
from cwm_core.dialog.results import ToolObservation
from cwm_core.dialog.tools import ToolCall
from cwm_core.env.environment import Action, Observation, Task, Transition
from cwm_core.sandbox.base import SandboxError
from cwm_forager.agent.prompts import prompt_for
from cwm_forager.agent.tools import TOOLS, ToolOutput
from cwm_forager.grading.grade import grade
from cwm_forager.grading.reproduction import grade_script
from cwm_forager.grading.verdict import Verdict
from cwm_forager.swe.actions import Asked, read_action
from cwm_forager.swe.config import SweConfig
from cwm_forager.swe.session import Session
from cwm_forager.swe.wire import Wire
from cwm_forager.tasks.instance import Instance, instance_of, read_instances
from cwm_forager.tasks.patches import mean_similarity

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer


class Exit(StrEnum):
    """Why an episode of this environment ended."""

    ANSWERED = "answered"
    """A final answer after a submission."""
    TURN_LIMIT = "turn_limit"
    TOKEN_LIMIT = "token_limit"
    ACTION_LIMIT = "action_limit"
    """An action was longer than allowed, or cut off."""
    TIME_LIMIT = "time_limit"
    FORMAT_ERROR = "format_error"


@dataclass(frozen=True, slots=True)
class SweState:
    """An episode so far; `session` is live, everything else a value."""

    task: Task
    instance: Instance
    session: Session
    calls: tuple[ToolCall, ...] = ()
    turns: int = 0
    tokens: int = 0
    submission: str | None = None
    format_errors: int = 0
    started: float | None = None
    """`time.monotonic` at the first action."""


class SweEnvironment:
    """Tasks are instances; actions call tools, in CWM's format; `release` frees the sandbox.

    The last transition's `info` has ``exit`` (see `Exit`), ``reason``, ``resolved``, ``patch`` (the
    submission), ``verdict`` (see `cwm_forager.grading.verdict`), ``similarity``, ``turns``,
    ``tokens`` and ``format_errors``. ``step`` raises SandboxError when a sandbox fails: then
    nothing is known about the agent.
    """

    def __init__(self, config: SweConfig, tokenizer: Tokenizer | None = None) -> None:
        self.config = config
        self.wire = Wire(tokenizer, config.thinking)
        names = ["bash", "submit"]
        if config.plugins:
            names[1:1] = ["edit", "create", *(["view"] if config.view else [])]
        self.tools = {name: TOOLS[name][0] for name in names}

    def tasks(self, split: str) -> Iterator[Task]:
        """Yield the instances of the file; DataError when it is none."""
        for instance in read_instances(self.config.tasks):
            if split == self.config.split:
                yield instance.task(split)

    async def start(self, task: Task) -> Transition:
        """Show the prompt; the sandbox is made with the first tool call."""
        instance, config = instance_of(task), self.config
        reproduce = config.goal == "reproduce"
        prompt = prompt_for(
            instance,
            self.tools.values(),
            turns=config.turns,
            tokens=config.context_tokens,
            timeout_s=config.command_timeout_s,
            reproduce=reproduce,
            thinking=config.thinking != "off",
            show_tests=config.show_tests,
            show_hints=config.show_hints,
        )
        user = self.wire.cut(prompt.user, config.prompt_tokens, front=True)
        observation = self.wire.first(prompt.system, user)
        session = Session(config.sandbox, instance, config.command_timeout_s, not reproduce)
        tokens = self.wire.tokens_of(observation)
        return Transition(SweState(task, instance, session, tokens=tokens), observation, False)

    async def step(self, state: SweState, action: Action) -> Transition:
        """Run what the action calls, or judge the submission at its end."""
        now, config = time.monotonic(), self.config
        length = self.wire.tokens_of(action)
        begun = now if state.started is None else state.started
        state = replace(state, turns=state.turns + 1, tokens=state.tokens + length, started=begun)
        if state.tokens > config.context_tokens:
            return await self._end(state, Exit.TOKEN_LIMIT, "the context is full")
        if length > config.action_tokens:
            return await self._end(state, Exit.ACTION_LIMIT, f"an action of {length} tokens")
        if config.episode_timeout_s is not None and now - begun > config.episode_timeout_s:
            return await self._end(state, Exit.TIME_LIMIT, f"{now - begun:.0f} s have passed")
        asked = read_action(self.wire.plain(action), self.tools, config.thinking)
        if asked.call is None and self._is_final(state, asked):
            return await self._end(state, Exit.ANSWERED, "")
        if state.turns >= config.turns:
            return await self._end(state, Exit.TURN_LIMIT, f"{state.turns} turns were taken")
        if asked.call is None:
            return await self._refuse(state, action, asked)
        return await self._call(state, action, asked.call)

    async def release(self, state: SweState) -> None:
        """Delete the sandbox of an episode that goes on no further."""
        await state.session.close()

    def _is_final(self, state: SweState, asked: Asked) -> bool:
        headed = "##" in asked.answer or not self.config.markdown_answer
        return state.submission is not None and asked.thought_well and headed

    async def _refuse(self, state: SweState, action: Action, asked: Asked) -> Transition:
        state = replace(state, format_errors=state.format_errors + 1)
        if self.config.format_errors == "fatal":
            return await self._end(state, Exit.FORMAT_ERROR, asked.problem)
        return self._show(state, action, Message.user(asked.problem))

    async def _call(self, state: SweState, action: Action, call: ToolCall) -> Transition:
        session = await state.session.at(state.calls)
        try:
            output = await session.run(call)
        except SandboxError:
            await session.close()
            raise
        state = replace(state, session=session, calls=(*state.calls, call))
        if output.submission is not None:
            state = replace(state, submission=output.submission)
        return self._show(state, action, self._observation(state, call, output))

    def _observation(self, state: SweState, call: ToolCall, output: ToolOutput) -> Message:
        """Render an answer with the budget that is left after it, cut to the allowed size."""
        left = ToolObservation("", self.config.turns - state.turns, self.config.context_tokens)
        room = self.config.observation_tokens - self.wire.count(left.render())
        text = self.wire.cut(output.text.rstrip("\n"), max(0, room))
        used = state.tokens + self.wire.count(replace(left, output=text).render())
        tokens = max(0, self.config.context_tokens - used)
        shown = ToolObservation(text, left.remaining_turns, tokens)
        return Message.tool_result(call.name, shown.render())

    def _show(self, state: SweState, action: Action, message: Message) -> Transition:
        observation = self.wire.answer(message, action)
        tokens = state.tokens + self.wire.tokens_of(observation)
        return Transition(replace(state, tokens=tokens), observation, done=False)

    async def _end(self, state: SweState, exit_: Exit, reason: str) -> Transition:
        await state.session.close()
        finished = exit_ is Exit.ANSWERED
        verdict = None
        if state.submission is not None and (finished or self.config.grade_unfinished):
            verdict = await self._judge(state, state.submission)
        similarity = None
        if state.submission is not None and self.config.goal == "repair":
            similarity = mean_similarity(state.submission, state.instance.gold_patch)
        resolved = verdict is not None and verdict.resolved
        info: dict[str, Any] = {
            "exit": exit_.value,
            "reason": reason,
            "resolved": resolved,
            "patch": state.submission,
            "verdict": None if verdict is None else verdict.as_json(),
            "similarity": similarity,
            "turns": state.turns,
            "tokens": state.tokens,
            "format_errors": state.format_errors,
        }
        reward = self._reward(resolved and finished, similarity if finished else None)
        return Transition(state, Observation(), True, reward, info)

    async def _judge(self, state: SweState, submission: str) -> Verdict:
        judge = grade if self.config.goal == "repair" else grade_script
        return await judge(self.config.sandbox, state.instance, submission)

    def _reward(self, resolved: bool, similarity: float | None) -> float:
        if self.config.reward == "plus_minus_one":
            return 1.0 if resolved else -1.0
        return similarities_reward(
            resolved, similarity, self.config.similarity_threshold, self.config.reward_scale
        )


def similarities_reward(
    resolved: bool, similarity: float | None, threshold: float | None, scale: float
) -> float:
    """Return CWM's reward `similarities`: -1 + s, -1 + t s or -1."""
    if resolved:
        return -1.0 + scale
    if threshold is not None and similarity is not None and similarity >= threshold:
        return -1.0 + threshold * scale
    return -1.0
