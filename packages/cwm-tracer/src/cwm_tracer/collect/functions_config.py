"""Configuration of `cwm trace functions`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from cwm_core.config import Slot
from cwm_core.plugins import ComponentConfig
from cwm_tracer.collect.config import ShardsConfig
from cwm_tracer.inputs.budget import Budget


class FieldNames(BaseModel):
    """The fields of a JSON-lines data set that is in none of the known formats."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    source: str = "source"
    """Python source; required."""
    entry: str = "entry"
    """Name of the function to run; rows without it give every function of their source."""
    inputs: str = "inputs"
    """List of argument lists as source text; may be absent."""
    tests: str = "tests"
    """Python text, or list of texts, that calls the function; may be absent."""


class FunctionsConfig(ShardsConfig):
    """Find functions, choose inputs for them, record them, write trace shards."""

    may_change: ClassVar[frozenset[str]] = ShardsConfig.may_change | {"inputs_batch"}

    sources: tuple[str, ...] = Field(min_length=1)
    """Python files, directories, installed packages or modules by name, JSON-lines files."""
    tests: tuple[Path, ...] = ()
    """Further Python files, or directories of them, in which calls of the functions are looked
    for; test files inside `sources` are looked at anyway."""
    fields: FieldNames = FieldNames()
    """Field names of JSON-lines data sets."""
    generators: Annotated[
        list[ComponentConfig],
        Slot("input_generators", default=("usage", "doctest", "hints", "mutation")),
    ]
    """What invents inputs, in the order of their turns."""
    budget: Budget = Budget()
    """What may be spent on each function."""
    seed: int = 0
    """Chooses among the inputs that could be tried."""
    deterministic: bool = True
    """Leave out executions that differ under another hash seed."""
    methods: bool = True
    """Take methods of classes, too."""
    imports: Literal["standard", "installed"] = "standard"
    """What a function may need: modules of the standard library without side effects, or any that
    is installed. What belongs to an installed package of `sources` is always allowed."""
    max_lines: int = Field(default=500, ge=1)
    """Longest function, together with all of its module that it needs."""
    limit: int | None = Field(default=None, ge=0)
    """Take at most so many functions; null: all."""
    inputs_batch: int = Field(default=4, ge=1)
    """Functions whose inputs a worker chooses at a time."""
