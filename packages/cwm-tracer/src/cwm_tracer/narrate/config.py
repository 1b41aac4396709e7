"""Configuration of `cwm trace narrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cwm_core.config import Slot
from cwm_core.plugins import ComponentConfig
from cwm_tracer.collect.config import WorkersConfig


class RewriteConfig(BaseModel):
    """How a language model is asked to rewrite accounts; used when there is an `engine`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tokenizer: Path | None = None
    """Directory with a tokenizer.json; null: the engine's own."""
    chat: bool = True
    """Ask in CWM's chat format; otherwise a text is continued."""
    max_tokens: int = Field(default=2048, ge=1)
    """Longest account; longer ones are left out."""
    temperature: float = Field(default=0.7, ge=0)
    """0 is greedy."""
    concurrency: int = Field(default=16, ge=1)
    """Requests that a worker has under way at once."""


class NarrateConfig(WorkersConfig):
    """Tell recorded executions in natural language."""

    traces: Path
    """Trace shards, or a run directory of `cwm trace`."""
    split: str | None = None
    """Only traces of this side; null: all."""
    limit: int | None = Field(default=None, ge=1)
    """Most traces; null: all."""
    per_trace: int = Field(default=1, ge=1)
    """Narrations of each trace, worded differently."""
    seed: int = 0
    """Chooses the words."""
    max_value: int = Field(default=200, ge=1)
    """Values with more characters are not spelled out."""
    max_chars: int | None = Field(default=60_000, ge=1)
    """Longer documents are left out; null: keep all."""
    engine: Annotated[ComponentConfig | None, Slot("engines", default=None)]
    """Language model that rewrites the accounts, each checked against the execution; null: the
    accounts made by rules are what is written."""
    rewrite: RewriteConfig = RewriteConfig()
    """How the model is asked."""
