"""Engines that check a benchmark: one that knows every answer and one that knows none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cwm_core.components import ComponentConfig
from cwm_core.engine.base import Completion, SamplingParams, Scores
from cwm_core.engine.scripted import ScriptedEngine

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer

_CHANCE_NATS = 13.8
"""Negative log-likelihood of a token guessed among a million."""


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
        from cwm_core.text.tokenizer import Tokenizer

        tokenizer = Tokenizer.load(self.tokenizer)
        return GoldEngine(_answers(self, tokenizer), tokenizer)


class Empty(ComponentConfig):
    """Answers nothing: must score 0 % everywhere."""

    tokenizer: Path | None = None
    """Directory with a tokenizer.json, if the benchmark names none."""

    def build(self) -> EmptyEngine:
        """Build the engine."""
        from cwm_core.text.tokenizer import Tokenizer

        return EmptyEngine(Tokenizer.load(self.tokenizer) if self.tokenizer else None)


class GoldEngine(ScriptedEngine):
    """Continues known prompts with their answers and is certain of every token."""

    def __init__(
        self, answers: Mapping[tuple[int, ...], Sequence[int]], tokenizer: Tokenizer
    ) -> None:
        super().__init__(by_prompt=answers)
        self.tokenizer = tokenizer


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


def _answers(config: Gold, tokenizer: Tokenizer) -> dict[tuple[int, ...], Sequence[int]]:
    from cwm_core.errors import CodecError
    from cwm_core.plugins import registry
    from cwm_core.trace.codec import render_ids
    from cwm_core.trace.frames import Trace

    fields = {"data": config.data, "split": config.split}
    environment = registry().make("environments", "trace_prediction", **fields).build(tokenizer)
    answers: dict[tuple[int, ...], Sequence[int]] = {}
    for task in environment.tasks(config.split):
        try:
            encoded = render_ids(Trace(task.data["context"], task.data["frames"]), tokenizer)
        except CodecError:
            continue  # the benchmark skips such a trace
        prompt = tuple(encoded.ids[: encoded.prompt_length])
        answers[prompt] = encoded.ids[encoded.prompt_length :]
    return answers
