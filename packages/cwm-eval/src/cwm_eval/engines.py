"""Engines that check a benchmark: one that knows every answer and one that knows none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cwm_core.components import ComponentConfig
from cwm_core.engine.base import Completion, SamplingParams, Scores
from cwm_core.engine.scripted import ScriptedEngine

if TYPE_CHECKING:
    from cwm_core.env.environment import Task
    from cwm_core.text.tokenizer import Tokenizer

_CHANCE_NATS = 13.8
"""Negative log-likelihood of a token guessed among a million."""


class Gold(ComponentConfig):
    """Knows every answer by heart: must score 100 %."""

    data: Path | None = None
    """Directory of trace shards, or a run directory of `cwm trace`; not needed for benchmarks that
    know their answers themselves."""
    split: str = "test"
    """The split of `data` to know."""
    tokenizer: Path | None = None
    """Directory with a tokenizer.json; needed for `data`."""

    def build(self) -> GoldEngine:
        """Read the traces; raises `DataError` when there are none, `ConfigError` when tokens of
        traces are asked for without a tokenizer."""
        from cwm_core.errors import ConfigError
        from cwm_core.text.tokenizer import Tokenizer

        tokenizer = None if self.tokenizer is None else Tokenizer.load(self.tokenizer)
        if self.data is None:
            return GoldEngine({}, tokenizer)
        if tokenizer is None:
            raise ConfigError("traces are known as tokens", "give engine.tokenizer=DIR")
        return GoldEngine(_answers(self.data, self.split, tokenizer), tokenizer)


class Empty(ComponentConfig):
    """Answers nothing: must score 0 % everywhere."""

    tokenizer: Path | None = None
    """Directory with a tokenizer.json, if the benchmark names none."""

    def build(self) -> EmptyEngine:
        """Build the engine."""
        from cwm_core.text.tokenizer import Tokenizer

        return EmptyEngine(Tokenizer.load(self.tokenizer) if self.tokenizer else None)


@runtime_checkable
class AnswersKnown(Protocol):
    """A benchmark whose data hold right answers."""

    def tasks(self) -> Iterable[Task]:
        """Yield the tasks."""
        ...

    def prompt_ids(self, task: Task) -> tuple[int, ...]:
        """Return the tokens of a question."""
        ...

    def gold_ids(self, task: Task) -> tuple[int, ...] | None:
        """Return the tokens of a right answer, None where there is none."""
        ...


class GoldEngine(ScriptedEngine):
    """Continues known prompts with their answers and is certain of every token."""

    def __init__(
        self, answers: Mapping[tuple[int, ...], Sequence[int]], tokenizer: Tokenizer | None
    ) -> None:
        super().__init__(by_prompt=answers)
        self.tokenizer = tokenizer
        self._benchmark: AnswersKnown | None = None

    def learn(self, benchmark: AnswersKnown) -> None:
        """Take the answers of a benchmark that knows them."""
        self._benchmark = benchmark
        self._known = {
            benchmark.prompt_ids(task): benchmark.gold_ids(task) for task in benchmark.tasks()
        }

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Return the right answer, cut at `max_tokens`.

        Raises `SkipTaskError` for a question whose data hold none.
        """
        if self._benchmark is None:
            return await super().generate(prompt_ids, params)
        from cwm_eval.benchmarks.base import SkipTaskError

        ids = self._known.get(tuple(prompt_ids))
        if ids is None:
            raise SkipTaskError("the data hold no right answer")
        reason = "stop" if len(ids) <= params.max_tokens else "length"
        kept = ids[: params.max_tokens]
        return Completion(kept, (0.0,) * len(kept), reason)


class EmptyEngine:
    """Generates nothing and predicts no token."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Return no token."""
        return Completion((), (), "stop")

    async def score(self, token_ids: Sequence[int]) -> Scores:
        """Predict no token and find each as likely as chance."""
        return Scores((0.0,) + (-_CHANCE_NATS,) * (len(token_ids) - 1), (-1,) * len(token_ids))

    async def close(self) -> None:
        """Hold nothing."""


def _answers(data: Path, split: str, tokenizer: Tokenizer) -> dict[tuple[int, ...], Sequence[int]]:
    from cwm_core.errors import CodecError
    from cwm_core.plugins import registry
    from cwm_core.trace.codec import render_ids
    from cwm_core.trace.frames import Trace

    fields = {"data": data, "split": split}
    environment = registry().make("environments", "trace_prediction", **fields).build(tokenizer)
    answers: dict[tuple[int, ...], Sequence[int]] = {}
    for task in environment.tasks(split):
        try:
            encoded = render_ids(Trace(task.data["context"], task.data["frames"]), tokenizer)
        except CodecError:
            continue  # the benchmark skips such a trace
        prompt = tuple(encoded.ids[: encoded.prompt_length])
        answers[prompt] = encoded.ids[encoded.prompt_length :]
    return answers
