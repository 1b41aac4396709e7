"""Engines that check a benchmark: one that knows every answer and one that knows none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cwm_core.components import ComponentConfig
from cwm_core.engine.base import Completion, SamplingParams, Scores

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer


class Gold(ComponentConfig):
    """Knows the traces of a directory by heart: must score 100 % on them."""

    data: Path
    """Directory of trace shards, or a run directory of `cwm trace`."""
    split: str = "test"
    """The split to know."""
    tokenizer: Path
    """Directory with a tokenizer.json."""

    def build(self) -> GoldEngine:
        """Read the traces; raises `DataError` when there are none."""
        from cwm_core.errors import CodecError
        from cwm_core.plugins import registry
        from cwm_core.text.tokenizer import Tokenizer
        from cwm_core.trace.codec import render_ids
        from cwm_core.trace.frames import Trace

        tokenizer = Tokenizer.load(self.tokenizer)
        fields = {"data": self.data, "split": self.split}
        environment = registry().make("environments", "trace_prediction", **fields).build(tokenizer)
        answers = {}
        for task in environment.tasks(self.split):
            try:
                encoded = render_ids(Trace(task.data["context"], task.data["frames"]), tokenizer)
            except CodecError:
                continue
            prompt = tuple(encoded.ids[: encoded.prompt_length])
            answers[prompt] = tuple(encoded.ids[encoded.prompt_length :])
        return GoldEngine(answers, tokenizer)


class Empty(ComponentConfig):
    """Answers nothing: must score 0 % everywhere."""

    tokenizer: Path | None = None
    """Directory with a tokenizer.json, if the benchmark names none."""

    def build(self) -> EmptyEngine:
        """Build the engine."""
        from cwm_core.text.tokenizer import Tokenizer

        return EmptyEngine(Tokenizer.load(self.tokenizer) if self.tokenizer else None)


class GoldEngine:
    """Continues known prompts with their answers; unknown prompts with nothing."""

    def __init__(
        self, answers: dict[tuple[int, ...], tuple[int, ...]], tokenizer: Tokenizer
    ) -> None:
        self.answers = answers
        self.tokenizer = tokenizer

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Return the known answer, up to its first stop token or `max_tokens`."""
        answer = self.answers.get(tuple(prompt_ids), ())
        ends = [i + 1 for i, token in enumerate(answer) if token in params.stop_token_ids]
        end = min([*ends[:1], params.max_tokens, len(answer)])
        finish = "stop" if end in ends[:1] or not answer else "length"
        return Completion(answer[:end], (0.0,) * end, finish)

    async def score(self, token_ids: Sequence[int]) -> Scores:
        """Be certain of every token."""
        return Scores((0.0,) * len(token_ids), (-1, *token_ids[1:]))

    async def close(self) -> None:
        """Hold nothing."""


class EmptyEngine:
    """Generates nothing and predicts no token."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Return no token."""
        return Completion((), (), "stop")

    async def score(self, token_ids: Sequence[int]) -> Scores:
        """Predict no token; the log-probability of each is that of chance among a million."""
        return Scores((0.0,) + (-13.8,) * (len(token_ids) - 1), (-1,) * len(token_ids))

    async def close(self) -> None:
        """Hold nothing."""
