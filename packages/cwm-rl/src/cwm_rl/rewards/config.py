"""Configuration of the rewards; light, so that help and validation stay fast."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from cwm_core.components import ComponentConfig
from cwm_core.config import Slot

if TYPE_CHECKING:
    from cwm_core.env.reward import Reward
    from cwm_rl.rewards.answers import ExactMatch, Format, LengthPenalty, TraceMatch
    from cwm_rl.rewards.math_answer import MathAnswer
    from cwm_rl.rewards.patch import PatchSimilarity
    from cwm_rl.rewards.unit_tests import UnitTests


class ExactMatchConfig(ComponentConfig):
    """Whether the last action's text equals the task's answer."""

    answer: str = "answer"
    """Key of the answer in the task's data."""
    strip: bool = True
    """Ignore white space around both."""
    right: float = 1.0
    """Reward of a match."""
    wrong: float = 0.0
    """Reward of anything else; CWM uses -1."""

    def build(self) -> ExactMatch:
        """Build the reward."""
        from cwm_rl.rewards.answers import ExactMatch

        return ExactMatch(self)


class TraceMatchConfig(ComponentConfig):
    """How much of the true execution the last action predicts."""

    mode: Literal["fraction", "exact"] = "fraction"
    """`fraction`: leading frames that are right, as a share of the longer of truth and prediction;
    `exact`: 1 if all are right and the wire format is kept, else 0."""
    tokenizer: Path | None = None
    """Tokenizer of actions that have token ids but no text."""

    def build(self) -> TraceMatch:
        """Build the reward; DataError when the tokenizer cannot be loaded."""
        from cwm_rl.rewards.answers import TraceMatch

        if self.tokenizer is None:
            return TraceMatch(self.mode, None)
        from cwm_core.text.tokenizer import Tokenizer

        return TraceMatch(self.mode, Tokenizer.load(self.tokenizer))


class LengthPenaltyConfig(ComponentConfig):
    """Soft punishment of long answers: 0 up to max - margin tokens, then linearly to -1 at max.

    Source: DAPO (arXiv 2503.14476), eq. 13.
    """

    max_tokens: int = Field(65536, ge=1)
    """Action tokens from which the reward is -1."""
    margin_tokens: int = Field(4096, ge=1)
    """Width of the slope below."""

    @model_validator(mode="after")
    def _margin_fits(self) -> LengthPenaltyConfig:
        if self.margin_tokens > self.max_tokens:
            raise ValueError("margin_tokens must not exceed max_tokens")
        return self

    def build(self) -> LengthPenalty:
        """Build the reward."""
        from cwm_rl.rewards.answers import LengthPenalty

        return LengthPenalty(self.max_tokens, self.margin_tokens)


class FormatConfig(ComponentConfig):
    """Whether the last action keeps a form."""

    one: tuple[Literal["code_block", "boxed", "think_end"], ...] = ()
    """What must be there exactly once: a fenced block of code, a ``\\boxed{}``, a ``</think>``."""
    pattern: str | None = None
    """Regular expression that must be found; ``.`` matches line ends, too."""
    right: float = 0.0
    """Reward of an action that keeps the form."""
    wrong: float = -1.0
    """Reward of any other."""

    @model_validator(mode="after")
    def _compiles(self) -> FormatConfig:
        try:
            re.compile(self.pattern or "")
        except re.error as error:
            raise ValueError(f"pattern is no regular expression: {error}") from error
        return self

    def build(self) -> Format:
        """Build the reward."""
        from cwm_rl.rewards.answers import Format

        return Format(self)


class UnitTestsConfig(ComponentConfig):
    """Whether the code in the last action passes the task's tests, run in a sandbox.

    The code is the one fenced block, as CWM demands, or all of the text where there is none. It is
    shown inputs only; what comes out is compared here. Tests in the task's data are: a list of
    ``assert CALL == VALUE`` (MBPP), of objects with ``call`` and ``value``, or of objects with
    ``stdin`` and ``stdout`` (contests).
    """

    tests: str = "tests"
    """Key of the tests in the task's data."""
    setup: str = ""
    """Key of code to run before the solution; none by default."""
    timeout_s: float = Field(6.0, gt=0)
    """Seconds per test; CWM's is 6."""
    share: bool = False
    """Reward the share of passed tests between `wrong` and `right` instead of all or nothing."""
    right: float = 1.0
    """Reward when all pass."""
    wrong: float = 0.0
    """Reward of anything else; CWM uses -1."""
    sandbox: Annotated[ComponentConfig, Slot("sandboxes", default="local")]
    """Where solutions run."""

    def build(self) -> UnitTests:
        """Build the reward."""
        from cwm_rl.rewards.unit_tests import UnitTests

        return UnitTests(self)


class MathAnswerConfig(ComponentConfig):
    """Whether the last ``\\boxed{}`` equals the answer mathematically (library math-verify).

    Comparing runs in a process of its own, which is ended when it takes too long.
    """

    answer: str = "answer"
    """Key of the answer in the task's data."""
    timeout_s: float = Field(10.0, gt=0)
    """Seconds per comparison; one that takes longer counts as wrong."""
    right: float = 1.0
    """Reward of an equal answer."""
    wrong: float = 0.0
    """Reward of anything else; CWM uses -1."""

    def build(self) -> MathAnswer:
        """Build the reward; its process starts with the first comparison."""
        from cwm_rl.rewards.math_answer import MathAnswer

        return MathAnswer(self)


class PatchSimilarityConfig(ComponentConfig):
    """CWM's hybrid for software engineering: tests where they pass, else likeness to the patch.

    With `scale` s: -1 + s where the tests passed; -1 + t s where the mean similarity over the
    files of the true patch is at least `threshold` t; else -1. The environment reports ``passed``
    and ``patch`` in its outcome. Source: the release's rewards ``similarities`` (s = 1) and
    ``similarities_2`` (s = 2).
    """

    scale: float = Field(2.0, gt=0)
    """s."""
    threshold: float | None = Field(None, gt=0, le=1)
    """t; tests alone count by default."""
    oracle: str = "patch"
    """Key of the true patch in the task's data."""

    def build(self) -> PatchSimilarity:
        """Build the reward."""
        from cwm_rl.rewards.patch import PatchSimilarity

        return PatchSimilarity(self)


class CombinedConfig(ComponentConfig):
    """Several rewards as one."""

    parts: Annotated[dict[str, ComponentConfig], Slot("rewards")] = Field(min_length=1)
    """Named rewards."""
    weights: dict[str, float] = Field({})
    """Weights by name; 1 by default."""
    mode: Literal["sum", "product", "least"] = "sum"
    """``sum`` of the weighted rewards, their ``product``, or the ``least`` of them: a gate."""

    @model_validator(mode="after")
    def _known(self) -> CombinedConfig:
        if unknown := sorted(self.weights.keys() - self.parts.keys()):
            raise ValueError(f"weights of unknown rewards: {', '.join(unknown)}")
        return self

    def build(self) -> Reward:
        """Build the reward."""
        from cwm_rl.rewards.combined import Combined

        parts = {name: part.build() for name, part in self.parts.items()}
        weights = {name: self.weights.get(name, 1.0) for name in parts}
        return Combined(parts, weights, self.mode)
