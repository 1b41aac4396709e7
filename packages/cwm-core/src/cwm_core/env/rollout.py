"""Playing episodes: an environment on one side, an engine or an agent on the other.

What an engine produced is kept as the exact token ids and log-probabilities that it returned, and
the next prompt is their concatenation: nothing is ever tokenised twice.

Episodes (`cwm_core.env.episode`) are immutable values: give one to `rollout` as `episode` to go on
from that point, as often as you like.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from cwm_core.engine.base import Engine, SamplingParams
from cwm_core.env.concurrency import run_sync
from cwm_core.env.environment import (
    Action,
    Agent,
    Environment,
    ReleasingEnvironment,
    Task,
)
from cwm_core.env.episode import Episode, advance, begin
from cwm_core.env.trajectory import ExitReason, Trajectory, task_metadata
from cwm_core.errors import CwmError


class TextCoder(Protocol):
    """The part of a tokenizer that text environments need to be played by an engine."""

    def encode(self, text: str, /) -> list[int]:
        """Return the token ids of `text`."""
        ...

    def decode(self, ids: Any, /) -> str:
        """Return the text of token ids."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """When an episode is cut off."""

    turns: int = 128
    """Actions per episode."""
    tokens: int | None = None
    """Tokens of prompt, actions and observations together; actions are shortened to fit."""
    timeout_s: float | None = None
    """Seconds for the whole episode."""


async def rollout(
    environment: Environment,
    task: Task,
    player: Engine | Agent,
    params: SamplingParams | None = None,
    max_turns: int | None = None,
    *,
    limits: Limits | None = None,
    tokenizer: TextCoder | None = None,
    episode: Episode | None = None,
) -> Trajectory:
    """Play `task` to its end or to a limit and return the record.

    An engine continues the tokens of the episode with `params`; `tokenizer` serves environments
    that show text only. `max_turns` overrides `limits.turns`. A cut-off action is given to the
    environment like any other, which decides what it is worth.

    Exceptions of the environment and of an agent end the episode and are part of its record.
    `CwmError` of the player goes through: then a server or the configuration is at fault.
    """
    limits = limits or Limits()
    limits = limits if max_turns is None else replace(limits, turns=max_turns)
    params = params or SamplingParams()
    play = _Play(environment, player, params, limits, tokenizer)
    started = time.monotonic()
    try:
        reason = await play.run(task, episode)
    finally:
        await _release(environment, play.episode)
    metadata = {
        **task_metadata(task),
        "sampling": asdict(params),
        "duration_s": time.monotonic() - started,
    }
    return _record(task, play.episode, reason, play.error, metadata)


async def _release(environment: Environment, episode: Episode | None) -> None:
    """Let an environment free what it holds for an episode, however that ended."""
    if episode is not None and isinstance(environment, ReleasingEnvironment):
        await asyncio.shield(environment.release(episode.state))


def rollout_sync(*args: Any, **kwargs: Any) -> Trajectory:
    """Call `rollout` from synchronous code, such as a notebook."""
    return run_sync(rollout(*args, **kwargs))


class _EndedError(Exception):
    """The environment or the agent raised; the cause says what."""

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(reason)
        self.reason = reason


class _Play:
    """One episode in play; holds its latest point, so that a time limit loses nothing."""

    def __init__(
        self,
        environment: Environment,
        player: Engine | Agent,
        params: SamplingParams,
        limits: Limits,
        tokenizer: TextCoder | None,
    ) -> None:
        self.environment, self.player, self.params = environment, player, params
        self.limits, self.tokenizer = limits, tokenizer
        self.episode: Episode | None = None
        self.error: str | None = None

    async def run(self, task: Task, episode: Episode | None) -> ExitReason:
        self.episode = episode
        try:
            async with asyncio.timeout(self.limits.timeout_s) as clock:
                return await self._run(task)
        except TimeoutError:
            if clock.expired():
                return ExitReason.TIME_LIMIT
            raise
        except _EndedError as ended:
            self.error = repr(ended.__cause__)
            return ended.reason

    async def _run(self, task: Task) -> ExitReason:
        episode = self.episode
        if episode is None:
            with _ending(ExitReason.ENVIRONMENT_ERROR):
                episode = await begin(self.environment, task)
        while True:
            self.episode = episode = self._tokenised(episode)
            if episode.done:
                return ExitReason.DONE
            if len(episode.actions) >= self.limits.turns:
                return ExitReason.TURN_LIMIT
            if self._tokens_left(episode) <= 0:
                return ExitReason.TOKEN_LIMIT
            action = await self._act(episode)
            with _ending(ExitReason.ENVIRONMENT_ERROR):
                episode = await advance(self.environment, episode, action)

    async def _act(self, episode: Episode) -> Action:
        if isinstance(self.player, Engine):
            return await self._generate(self.player, episode)
        with _ending(ExitReason.AGENT_ERROR, but=CwmError):
            return await self.player.act(episode.observations, episode.actions)

    async def _generate(self, engine: Engine, episode: Episode) -> Action:
        most = min(self.params.max_tokens, self._tokens_left(episode))
        params = replace(self.params, max_tokens=int(most))
        made = await engine.generate(episode.context_ids(), params)
        text = made.text
        if not text and made.token_ids and self.tokenizer is not None:
            text = self.tokenizer.decode(made.token_ids)
        return Action(text, made.token_ids, made.logprobs, made.finish_reason, made.model_versions)

    def _tokens_left(self, episode: Episode) -> float:
        if self.limits.tokens is None:
            return float("inf")
        return self.limits.tokens - sum(len(turn.token_ids or ()) for turn in episode.turns)

    def _tokenised(self, episode: Episode) -> Episode:
        """Give the newest observation token ids where it has text alone."""
        last = episode.observations[-1]
        if self.tokenizer is None or last.token_ids is not None or not last.text:
            return episode
        last = replace(last, token_ids=tuple(self.tokenizer.encode(last.text)))
        return replace(episode, observations=(*episode.observations[:-1], last))


@contextlib.contextmanager
def _ending(reason: ExitReason, but: type[Exception] | tuple[()] = ()) -> Iterator[None]:
    """Let an exception inside the block end the episode for `reason`."""
    try:
        yield
    except but:
        raise
    except Exception as error:
        raise _EndedError(reason) from error


def _record(
    task: Task,
    episode: Episode | None,
    reason: ExitReason,
    error: str | None,
    metadata: Mapping[str, Any],
) -> Trajectory:
    outcome: dict[str, Any] = {} if error is None else {"error": error}
    if episode is None:
        return Trajectory(task.id, (), {}, outcome, reason.value, metadata)
    given = [reward for reward in episode.rewards if reward is not None]
    cut = [index for index, a in enumerate(episode.actions) if a.finish_reason == "length"]
    return Trajectory(
        task_id=task.id,
        turns=episode.turns,
        rewards={"environment": float(sum(given))} if given else {},
        outcome={**(episode.info or {}), **outcome},
        exit_reason=reason.value,
        metadata={**metadata, "turn_rewards": list(episode.rewards), "cut_off_actions": cut},
    )
