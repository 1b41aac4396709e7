"""The benchmark of every question environment: ask, sample, grade, keep what was said."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cwm_core.dialog.messages import Dialog, Message
from cwm_core.dialog.template import REASONING_SYSTEM_PROMPT, ChatTemplate, render_ids
from cwm_core.engine.base import Completion, Engine, SamplingParams
from cwm_core.env.environment import Action, Observation, Task
from cwm_core.errors import ConfigError, ContextLengthError
from cwm_core.text.special_tokens import BEGIN_OF_TEXT, STOP_TOKENS
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_eval.benchmarks import text_metrics
from cwm_eval.benchmarks.asking import AsBenchmark
from cwm_eval.benchmarks.base import MetricInfo, SkipTaskError, Summary
from cwm_eval.samples import Sample

BYTES = 273
"""Ids of a tokenizer with one token per byte and the named special tokens."""


class TextBenchmark:
    """Asks every problem `samples` times and grades the answers in the environment."""

    def __init__(
        self, config: AsBenchmark, tokenizer: Tokenizer | None = None, limit: int | None = None
    ) -> None:
        self.config = config
        self.tokenizer = chosen_tokenizer(config, tokenizer)
        self.environment = config.make(self.tokenizer, limit)
        self.metric_infos: Mapping[str, MetricInfo] = {
            **text_metrics.infos(config.ks),
            **self.environment.score_infos,
        }
        names = self.tokenizer.special_ids
        self.stops = tuple(names[name] for name in STOP_TOKENS if name in names)

    def count(self) -> int | None:
        """Return the number of answers that are asked for."""
        return self.environment.count(self.config.split) * self.config.samples

    def tasks(self) -> Iterator[Task]:
        """Yield each problem `samples` times: all problems once, then all again."""
        for number in range(self.config.samples):
            for task in self.environment.tasks(self.config.split):
                name = task.id if self.config.samples == 1 else f"{task.id}#{number}"
                metadata = {**task.metadata, "problem": task.id, "sample": number}
                yield replace(task, id=name, metadata=metadata)

    def prompt_ids(self, task: Task) -> tuple[int, ...]:
        """Return the tokens of the question."""
        shown: Observation = self.environment.observe(task)
        return shown.token_ids if shown.token_ids is not None else self.asked(shown.text)

    def asked(self, question: str) -> tuple[int, ...]:
        """Return the tokens that ask a question, in the form that is configured."""
        if self.config.form == "plain":
            begin = self.tokenizer.special_id(BEGIN_OF_TEXT)
            return (begin, *self.tokenizer.encode(question))
        system = [Message.system(REASONING_SYSTEM_PROMPT)] if self.config.reasoning else []
        dialog = Dialog((*system, Message.user(question)))
        template = ChatTemplate(enable_thinking=self.config.reasoning)
        return tuple(render_ids(dialog, self.tokenizer, template, prompt=True).ids)

    def gold_ids(self, task: Task) -> tuple[int, ...] | None:
        """Return the tokens of a right answer; None where the data has none."""
        action = self.environment.gold_action(task)
        if action is None:
            return None
        if action.token_ids is not None:
            return action.token_ids
        reasoning = "I know.\n</think>\n" if self.config.reasoning else ""
        return tuple(self.tokenizer.encode(reasoning + action.text))

    async def evaluate(self, task: Task, engine: Engine) -> Mapping[str, Any]:
        """Ask once and grade the answer.

        Raises what the engine and the sandbox raise; `SkipTaskError` for a question that is
        longer than the model's context.
        """
        prompt = self.prompt_ids(task)
        began = time.monotonic()
        try:
            answer = await engine.generate(prompt, self._params(task))
        except ContextLengthError as error:
            raise SkipTaskError(error.message) from error
        seconds = time.monotonic() - began
        asked = {"prompt_tokens": len(prompt), "generate_s": round(seconds, 4)}
        return {**asked, **await self._graded(task, answer)}

    async def grade(self, task: Task, text: str) -> dict[str, Any]:
        """Grade a text that was written elsewhere."""
        answer = Completion((), (), "stop", text)
        return {"prompt_tokens": 0, "generate_s": 0.0, **await self._graded(task, answer)}

    def _params(self, task: Task) -> SamplingParams:
        config = self.config
        name = f"{config.seed}:{task.metadata['problem']}:{task.metadata['sample']}"
        return SamplingParams(
            max_tokens=config.max_new_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            stop_token_ids=self.stops,
            seed=seed_of(name) if config.temperature > 0 else None,
        )

    async def _graded(self, task: Task, answer: Completion) -> dict[str, Any]:
        text = answer.text
        if answer.token_ids:
            text = self.tokenizer.decode(answer.token_ids, skip_special=True)
        ids = tuple(answer.token_ids) if answer.token_ids else None
        action = Action(text, ids, finish_reason=answer.finish_reason)
        began = time.monotonic()
        info = (await self.environment.step(task, action)).info
        return {
            "question": self.environment.prompt(task),
            "text": text,
            "new_tokens": len(answer.token_ids),
            "finish": answer.finish_reason,
            "grade_s": round(time.monotonic() - began, 4),
            **info,
        }

    def summarise(self, samples: Iterable[Sample]) -> Summary:
        """Score the samples that have a result."""
        return text_metrics.summarise(samples, self.config.ks)

    def close(self) -> None:
        """Free sandboxes and processes."""
        self.environment.close()


def seed_of(name: str) -> int:
    """Return the seed of the request with this name: 31 bits."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1


def chosen_tokenizer(config: AsBenchmark, own: Tokenizer | None) -> Tokenizer:
    """Return the engine's tokenizer, the configured one, or else one token per byte."""
    if config.tokenizer is None:
        return own or train_bpe(["a"], BYTES)
    given = Tokenizer.load(config.tokenizer)
    if own is not None and own.fingerprint != given.fingerprint:
        raise ConfigError(
            f"the tokenizer in {config.tokenizer} ({given.vocab_size} ids, {given.fingerprint}) is "
            f"not the engine's ({own.vocab_size} ids, {own.fingerprint})",
            "leave benchmark.tokenizer away: the engine brings its own",
        )
    return given
