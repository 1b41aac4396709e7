"""Configurations of the input generators, the components of the hook `cwm_input_generators`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cwm_core.config import Slot
from cwm_core.plugins import ComponentConfig

if TYPE_CHECKING:
    from cwm_tracer.inputs.generator import InputGenerator


class UsageConfig(ComponentConfig):
    """Defaults, and calls with literal arguments in the module and its tests."""

    def build(self) -> InputGenerator:
        """Build the generator."""
        from cwm_tracer.inputs.usage import Usage

        return Usage()


class DoctestConfig(ComponentConfig):
    """Doctests, and examples in the prose of docstrings."""

    def build(self) -> InputGenerator:
        """Build the generator."""
        from cwm_tracer.inputs.doctests import Doctests

        return Doctests()


class HintsConfig(ComponentConfig):
    """Values drawn from annotations, or from what the body says where there are none."""

    count: int = Field(default=20, ge=1)
    """Argument lists that are drawn each time."""

    def build(self) -> InputGenerator:
        """Build the generator."""
        from cwm_tracer.inputs.hints.generator import Hints

        return Hints(self.count)


class MutationConfig(ComponentConfig):
    """Small changes of known inputs, in the terms of their types."""

    count: int = Field(default=40, ge=1)
    """Argument lists that are made each time."""

    def build(self) -> InputGenerator:
        """Build the generator."""
        from cwm_tracer.inputs.mutation import Mutation

        return Mutation(self.count)


class LlmConfig(ComponentConfig):
    """Calls that a language model proposes."""

    engine: Annotated[ComponentConfig, Slot("engines")]
    """What produces the tokens."""
    tokenizer: Path | None = None
    """Directory with a tokenizer.json; null: the engine's own."""
    count: int = Field(default=10, ge=1)
    """Calls that the model is asked for."""
    chat: bool = False
    """Ask in the chat format; otherwise the program is continued as a text."""
    max_tokens: int = Field(default=512, ge=1)
    """Longest answer."""
    temperature: float = Field(default=0.8, ge=0)
    """0 is greedy."""

    def build(self) -> InputGenerator:
        """Build the generator and its engine.

        Raises:
            ConfigError: neither the engine nor `tokenizer` gives a tokenizer.
        """
        from cwm_core.engine.base import SamplingParams
        from cwm_core.engine.tokenizer import tokenizer_of
        from cwm_tracer.inputs.llm import Proposals

        engine = self.engine.build()
        tokenizer = tokenizer_of(
            engine, self.engine.name, self.tokenizer, "the generator's tokenizer"
        )
        params = SamplingParams(max_tokens=self.max_tokens, temperature=self.temperature)
        return Proposals(engine, tokenizer, params, self.count, self.chat)
