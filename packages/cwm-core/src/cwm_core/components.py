"""The base of every component's config class."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class ComponentConfig(BaseModel):
    """Base of every component's config class: frozen, no unknown keys, a docstring per field.

    A field that overrides one of a base class without a docstring keeps the one there. Subclasses
    define ``build(...)``; the arguments are fixed per kind (see `cwm_core.hookspecs`).
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,
    )

    name: str = ""
    """The registered name of the component (filled in by the registry)."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        bases = [base for base in cls.__mro__[1:] if issubclass(base, ComponentConfig)]
        for name, field in cls.model_fields.items():
            if field.description is None:
                texts = (
                    base.model_fields[name].description
                    for base in bases
                    if name in base.model_fields
                )
                field.description = next(filter(None, texts), None)

    def build(self, *args: Any, **kwargs: Any) -> Any:
        """Build the object that this config describes."""
        raise NotImplementedError(f"{type(self).__name__} defines no build()")
