"""The benchmark `trace_prediction`: what is asked of an engine for one recorded execution."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from cwm_core.engine.base import Completion, Engine, SamplingParams, Scores
from cwm_core.env.environment import Action, Environment, Task, Transition
from cwm_core.errors import CodecError, ConfigError, ContextLengthError, RunError
from cwm_core.plugins import registry
from cwm_core.text.special_tokens import STOP_TOKENS
from cwm_core.text.tokenizer import Tokenizer
from cwm_core.trace.codec import EncodedTrace, render_ids
from cwm_core.trace.frames import Frame, Trace
from cwm_eval.benchmarks import trace_metrics
from cwm_eval.benchmarks.base import SkipTaskError, Summary
from cwm_eval.benchmarks.config import TracePrediction
from cwm_eval.benchmarks.teacher_forced import score_frames
from cwm_eval.samples import Sample

_KEPT_MISTAKES = 50
_SPARE_TOKENS = 64


class TracePredictionBenchmark:
    """Teacher-forced and free-running prediction of recorded executions."""

    metric_infos = trace_metrics.INFOS

    def __init__(
        self, config: TracePrediction, tokenizer: Tokenizer | None = None, limit: int | None = None
    ) -> None:
        self.config = config
        self.tokenizer = _choose_tokenizer(config, tokenizer)
        fields = {"data": config.data, "split": config.split, "seed": config.seed, "limit": limit}
        environment = registry().make("environments", config.environment, **fields)
        self.environment: Environment = environment.build(self.tokenizer)
        names = self.tokenizer.special_ids
        self._stops = tuple(names[name] for name in STOP_TOKENS if name in names)

    def count(self) -> int | None:
        """Return the number of tasks, if the environment knows it."""
        count = getattr(self.environment, "count", None)
        return None if count is None else count(self.config.split)

    def tasks(self) -> Iterable[Task]:
        """Yield one task per trace."""
        return self.environment.tasks(self.config.split)

    async def evaluate(self, task: Task, engine: Engine) -> Mapping[str, Any]:
        """Score a trace under teacher forcing and let the engine write it on its own.

        Raises `RunError` when the engine's answer does not fit the question, and whatever the
        engine raises; `SkipTaskError` for a trace that the wire format cannot say or that is
        longer than the model's context.
        """
        try:
            return await self._evaluate(task, engine)
        except ContextLengthError as error:
            raise SkipTaskError(error.message) from error

    async def _evaluate(self, task: Task, engine: Engine) -> Mapping[str, Any]:
        try:
            transition = await self.environment.start(task)
            trace = Trace(task.data["context"], tuple(task.data["frames"]))
            encoded = render_ids(trace, self.tokenizer)
        except CodecError as error:
            raise SkipTaskError(str(error)) from error
        new_tokens = len(encoded.ids) - encoded.prompt_length
        reason = self._no_free_run(task, new_tokens)
        return {
            "context": trace.context,
            "truth": [frame_to_row(frame) for frame in trace.frames],
            "prompt_tokens": encoded.prompt_length,
            "new_tokens": new_tokens,
            "teacher": await self._teacher_forced(engine, encoded, trace),
            "free": None if reason else await self._free_running(engine, transition, new_tokens),
            "no_free_run": reason,
        }

    def _no_free_run(self, task: Task, new_tokens: int) -> str | None:
        limit = self.config.free_running_limit
        if not self.config.free_running:
            return "switched_off"
        if limit is not None and task.metadata.get("rank", 0) >= limit:
            return "not_drawn"
        return "too_long" if new_tokens > self.config.max_new_tokens else None

    async def _teacher_forced(
        self, engine: Engine, encoded: EncodedTrace, trace: Trace
    ) -> dict[str, Any] | None:
        if not self.config.teacher_forced:
            return None
        began = time.monotonic()
        scores = await engine.score(encoded.ids)
        seconds = time.monotonic() - began
        _check_scores(scores, len(encoded.ids))
        events = [str(frame.event) for frame in trace.frames]
        rows = score_frames(
            encoded.ids, encoded.roles, encoded.frame_index, scores.greedy_ids, events
        )
        wrong = [index for index, row in enumerate(rows, start=1) if not row.exact]
        return {
            "frames": [row.to_row() for row in rows],
            "nll": -sum(scores.logprobs[encoded.prompt_length :]),
            "wrong": {
                str(index): self._greedy_text(encoded, scores, index)
                for index in wrong[:_KEPT_MISTAKES]
            },
            "seconds": round(seconds, 4),
        }

    def _greedy_text(self, encoded: EncodedTrace, scores: Scores, index: int) -> str:
        where = [t for t, frame in enumerate(encoded.frame_index) if frame == index]
        ids = [max(scores.greedy_ids[t], -1) for t in where]
        return self.tokenizer.decode(ids)

    async def _free_running(
        self, engine: Engine, transition: Transition, new_tokens: int
    ) -> dict[str, Any]:
        enough = int(self.config.length_factor * new_tokens) + _SPARE_TOKENS
        params = SamplingParams(
            max_tokens=min(enough, self.config.max_new_tokens),
            temperature=0.0,
            stop_token_ids=self._stops,
        )
        began = time.monotonic()
        answer = await engine.generate(transition.observation.token_ids or (), params)
        seconds = time.monotonic() - began
        action = Action(token_ids=tuple(answer.token_ids), text=answer.text)
        info = (await self.environment.step(transition.state, action)).info
        return _free_result(answer, info, seconds)

    def summarise(self, samples: Iterable[Sample]) -> Summary:
        """Score the samples that have a result."""
        return trace_metrics.summarise(samples)


def frame_to_row(frame: Frame) -> list[Any]:
    """Return a frame as ``[event, locals, source, value]``, JSON values."""
    values = None if frame.locals is None else dict(frame.locals)
    return [str(frame.event), values, frame.source, frame.value]


def _free_result(answer: Completion, info: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    problems = info["problems"]
    return {
        "ids": list(answer.token_ids),
        "finish": answer.finish_reason,
        "frames": [frame_to_row(frame) for frame in info["frames"]],
        "problem": problems[0] if problems else None,
        **{key: info[key] for key in ("complete", "valid", "exact", "prefix", "output")},
        "seconds": round(seconds, 4),
    }


def _check_scores(scores: Scores, tokens: int) -> None:
    if not len(scores.greedy_ids) == len(scores.logprobs) == tokens:
        raise RunError(
            f"the engine scored {len(scores.greedy_ids)} tokens ({len(scores.logprobs)} "
            f"log-probabilities) of a sequence of {tokens}",
            "the engine or its server is at fault; benchmark.teacher_forced=false goes without",
        )


def _choose_tokenizer(config: TracePrediction, own: Tokenizer | None) -> Tokenizer:
    if config.tokenizer is None:
        if own is None:
            raise ConfigError(
                "the engine brings no tokenizer",
                "give the directory of the model's: benchmark.tokenizer=DIR",
            )
        return own
    given = Tokenizer.load(config.tokenizer)
    if own is not None and own.fingerprint != given.fingerprint:
        raise ConfigError(
            f"the tokenizer in {config.tokenizer} ({given.vocab_size} ids, {given.fingerprint}) is "
            f"not the engine's ({own.vocab_size} ids, {own.fingerprint})",
            "leave benchmark.tokenizer away: the engine brings its own",
        )
    return given
