"""Python execution traces for code world models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cwm_tracer.api import trace as trace

__all__ = ["trace"]


def __getattr__(name: str) -> Any:
    """Import on first use: the traced process and the plugin listing need none of it."""
    if name == "trace":
        from cwm_tracer.api import trace

        return trace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
