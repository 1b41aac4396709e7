"""Components and the registry that finds them through pluggy hooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True, slots=True)
class Component:
    """A named plugin object, declared as data; its kind is the hook that returned it.

    `target` is ``"module:Class"`` of a `ComponentConfig` subclass in a light module.
    """

    name: str
    target: str
    summary: str


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand of `cwm`: `target` is ``"module:app"``, a Typer app or a plain function."""

    name: str
    target: str
    summary: str


class ComponentConfig(BaseModel):
    """Base of every component's config class: frozen, no unknown keys, a docstring per field.

    Subclasses define ``build(...)``; the arguments are fixed per kind (see `cwm_core.hookspecs`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = ""
    """The registered name of the component (filled in by the registry)."""

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Build the object that this config describes."""
        raise NotImplementedError(f"{type(self).__name__} defines no build()")
