"""Configuration of the operators; light, so that listing them imports no libcst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from cwm_core.components import ComponentConfig
from cwm_core.errors import ConfigError

if TYPE_CHECKING:
    from cwm_forager.mutate.base import Mutator


class OperatorConfig(ComponentConfig):
    """One of the operators on libcst's syntax trees."""

    weight: float = Field(1.0, ge=0)
    """How often it is tried, relative to the other operators that fit a place."""

    def build(self) -> Mutator:
        """Return the operator; ConfigError for a name that is none."""
        from cwm_forager.mutate.operators.table import OPERATORS

        if self.name not in OPERATORS:
            raise ConfigError(f"no operator is named {self.name!r}", "see `cwm plugins mutators`")
        return OPERATORS[self.name]
