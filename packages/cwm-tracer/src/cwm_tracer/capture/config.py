"""Configuration of the default tracer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.config.base import Slot
from cwm_tracer.capture.limits import Limits

if TYPE_CHECKING:
    from cwm_tracer.capture.tracer import SettraceTracer


class SettraceConfig(ComponentConfig):
    """The recorder built on `sys.settrace`."""

    value_bytes: int = Field(default=8192, ge=64)
    """Most characters of one value, about; the rest is marked `<+N more>`."""
    value_nodes: int = Field(default=2048, ge=8)
    """Most items and nested items of one value."""
    value_depth: int = Field(default=24, ge=1, le=100)
    """Most containers inside one another."""
    call_repr: bool = False
    """Call the `__repr__` that the program's own classes define, instead of showing fields."""
    fork: bool = True
    """Fork each program's process from a warm server; otherwise start an interpreter for each."""
    renderers: Annotated[list[ComponentConfig], Slot("value_renderers", default=[])]
    """Who renders values of classes of their own; of two for one class, the last."""
    native: Literal["auto", "on", "off"] = "auto"
    """Record in C: `on` insists, `auto` does so where that was compiled (see `cwm doctor`), unless
    the environment says CWM_TRACER=python. The records are the same."""
    hash_seed: int = Field(default=0, ge=0, lt=2**32)
    """Seeds the hashes of texts, on which the order of sets depends, and the module `random`."""

    def build(self, limits: Limits | None = None) -> SettraceTracer:
        """Build the tracer; nothing is started before the first recording.

        Raises:
            ConfigError: `native` is `on`, and the native recorder is not there; or the file of a
                value renderer is not.
        """
        from cwm_tracer.capture.tracer import SettraceTracer

        return SettraceTracer(self, limits or Limits())
