"""Configuration of a single recording."""

from __future__ import annotations

from typing import Annotated

from cwm_core.config import CommandConfig, Slot
from cwm_core.plugins import ComponentConfig
from cwm_tracer.capture.limits import Limits


class OneConfig(CommandConfig):
    """Run one function and show its trace."""

    tracer: Annotated[ComponentConfig, Slot("tracers", default="settrace")]
    """What records it."""
    limits: Limits = Limits()
    """What it may use."""
