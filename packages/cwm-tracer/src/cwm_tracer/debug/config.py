"""Configuration of `cwm debug`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cwm_core.config import CommandConfig, Slot
from cwm_core.plugins import ComponentConfig
from cwm_tracer.capture.limits import Limits


class DebugConfig(CommandConfig):
    """Step through an execution, as it was recorded or as a model predicts it."""

    mode: Literal["auto", "executed", "predicted", "both"] = "auto"
    """``executed``: the recording; ``predicted``: the model goes on from the first call by itself;
    ``both``: the recording, and for each event what the model predicts from those before; auto:
    both where there is an engine."""
    engine: Annotated[ComponentConfig | None, Slot("engines", default=None)]
    """The model: ``engine=local engine.checkpoint=DIR``, or a server."""
    tokenizer: Path | None = None
    """Directory with a tokenizer.json; null: the engine's own."""
    max_events: int = Field(default=10_000, ge=1)
    """A prediction ends there."""
    max_event_tokens: int = Field(default=1024, ge=8)
    """Tokens of one predicted event."""
    tracer: Annotated[ComponentConfig, Slot("tracers", default="settrace")]
    """What records the execution."""
    limits: Limits = Limits()
    """What it may use."""
