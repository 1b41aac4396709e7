"""Configuration of the rewriting model; light, so that listing it imports no engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config.base import Slot

if TYPE_CHECKING:
    from cwm_forager.mutate.base import Mutator


class LlmRewriteConfig(ComponentConfig):
    """A model behind an engine writes functions anew, with a bug."""

    engine: Annotated[ComponentConfig, Slot("engines", default="openai")]
    """The model."""
    tokenizer: Path | None = None
    """Directory with a tokenizer.json, where the engine has none of its own."""
    weight: float = Field(1.0, ge=0)
    """How often it is tried, relative to the operators."""
    tries: int = Field(2, ge=1)
    """Answers that may be asked for, for one function."""
    max_tokens: int = Field(4096, ge=1)
    """Tokens per answer."""
    temperature: float = Field(0.8, ge=0)
    """Of sampling."""

    def build(self) -> Mutator:
        """Make the mutator; the engine is built when it is first asked."""
        from cwm_forager.mutate.llm import LlmRewrite

        return LlmRewrite(self)
