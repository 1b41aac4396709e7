"""Configuration that all benchmarks with questions share; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.text.tokenizer import Tokenizer
    from cwm_eval.benchmarks.questions import QuestionEnvironment
    from cwm_eval.benchmarks.text_benchmark import TextBenchmark


class Questions(ComponentConfig):
    """What the environment and the benchmark of a data set have in common."""

    data: str
    """A local file, or ``hub:OWNER/NAME`` for a data set on the hub."""
    split: str = "test"
    """The split to use."""
    limit: int | None = Field(default=None, ge=1)
    """Use this many problems, drawn by `seed`; a larger number holds those of a smaller one."""
    seed: int = 0
    """Draws problems and sampled answers."""
    reasoning: bool = False
    """Ask for reasoning before the answer; a reply that never ends it is no answer."""

    def make(self, tokenizer: Tokenizer | None, limit: int | None = None) -> QuestionEnvironment:
        """Build the environment; `limit` bounds the problems once more."""
        raise NotImplementedError

    def bound(self, limit: int | None) -> int | None:
        """Return the smaller of the two limits."""
        limits = [each for each in (self.limit, limit) if each is not None]
        return min(limits) if limits else None


class AsEnvironment(Questions):
    """The environment of a data set."""

    def build(self, tokenizer: Tokenizer | None = None) -> Any:
        """Build the environment; sandboxes start with the first answer."""
        return self.make(tokenizer)


class AsBenchmark(Questions):
    """The benchmark of a data set: how its questions are asked."""

    samples: int = Field(default=1, ge=1)
    """Answers per problem."""
    ks: tuple[int, ...] = (1,)
    """Report pass@k for each of these; k beyond `samples` is undefined."""
    temperature: float = Field(default=0.0, ge=0.0)
    """0 is greedy; CWM was measured with 1.0."""
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Sample among the most likely tokens that make up this probability; CWM: 0.95."""
    max_new_tokens: int = Field(default=4096, ge=1)
    """Length of an answer, reasoning included."""
    form: Literal["chat", "plain"] = "chat"
    """Ask as a user's message, or let the model continue the text of the question."""
    tokenizer: Path | None = None
    """Directory with a tokenizer.json; needed only for engines that bring none."""

    def build(self, tokenizer: Tokenizer | None = None, limit: int | None = None) -> TextBenchmark:
        """Build the benchmark; `tokenizer` is the engine's own, `limit` bounds the problems.

        Raises `ConfigError` for two different tokenizers, `DataError` for unusable data.
        """
        from cwm_eval.benchmarks.text_benchmark import TextBenchmark

        return TextBenchmark(self, tokenizer, limit)
