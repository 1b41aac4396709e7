"""The base of every component's config class."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class ComponentConfig(BaseModel):
    """Base of every component's config class: frozen, no unknown keys, a docstring per field.

    Subclasses define ``build(...)``; the arguments are fixed per kind (see `cwm_core.hookspecs`).
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,
    )

    name: str = ""
    """The registered name of the component (filled in by the registry)."""

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Build the object that this config describes."""
        raise NotImplementedError(f"{type(self).__name__} defines no build()")
