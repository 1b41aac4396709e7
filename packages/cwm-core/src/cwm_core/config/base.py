"""What a command's configuration is made of: a model class and slots for components."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import core_schema

from cwm_core.components import ComponentConfig
from cwm_core.errors import ConfigError, PluginError
from cwm_core.plugins import registry

_NO_DEFAULT: Any = ...


class CommandConfig(BaseModel):
    """Base of a command's config: frozen, no unknown keys, a docstring per field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,
    )

    may_change: ClassVar[frozenset[str]] = frozenset({"out"})
    """Top-level keys that may differ when a run directory is continued."""


class ComponentErrors(ValueError):  # noqa: N818 - several errors in one
    """Errors of a component inside a slot; `errors` holds (key path, error) pairs."""

    def __init__(self, errors: list[tuple[tuple[str | int, ...], Any]]) -> None:
        super().__init__(f"{len(errors)} errors in a component")
        self.errors = errors


class Slot:
    """Marks a field that holds components of one kind: one, a dict of named ones, or a list.

    Use as ``Annotated[ComponentConfig, Slot("optimizers", default="adamw")]``. A value is a
    component's name, a mapping with ``name`` and its fields, or a config instance. A `default`
    is a name (or a list or dict of such values) and makes the field optional.
    """

    def __init__(self, kind: str, default: Any = _NO_DEFAULT) -> None:
        self.kind = kind
        self.default = default

    @property
    def has_default(self) -> bool:
        """Whether the slot names components to use when nothing is chosen."""
        return self.default is not _NO_DEFAULT

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        shape = get_origin(source)
        many = shape if shape in (dict, list, tuple) else None
        schema: core_schema.CoreSchema = core_schema.no_info_before_validator_function(
            functools.partial(self._convert, many, type(None) in get_args(source)),
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(_dump, info_arg=True),
        )
        if self.has_default:
            schema = core_schema.with_default_schema(
                schema, default=self.default, validate_default=True
            )
        return schema

    def _convert(self, many: type | None, optional: bool, value: Any) -> Any:
        if many is dict:
            return self._convert_items(_named_items(value)) if _items(value) else value
        if many in (list, tuple):
            entries = [value] if isinstance(value, str) else value
            if not isinstance(entries, (list, tuple)):
                return value
            return list(self._convert_items(dict(enumerate(entries))).values())
        if value is None and optional:
            return None
        return _instance(self.kind, {} if value is None else value, ())

    def _convert_items(self, items: Mapping[Any, Any]) -> dict[Any, Any]:
        converted, errors = {}, []
        for key, item in items.items():
            try:
                converted[key] = _instance(self.kind, item, (key,))
            except ComponentErrors as nested:
                errors.extend(nested.errors)
        if errors:
            raise ComponentErrors(errors)
        return converted


def slots(model: type[BaseModel]) -> dict[str, tuple[Slot, type | None]]:
    """Return the slots of a model by field name, with the container type (None: a single one)."""
    found = {}
    for name, field in model.model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, Slot):
                shape = get_origin(field.annotation)
                found[name] = (mark, shape if shape in (dict, list, tuple) else None)
    return found


def _items(value: Any) -> bool:
    return isinstance(value, (str, Mapping))


def _named_items(value: str | Mapping[str, Any]) -> Mapping[str, Any]:
    """Expand the shorthands ``sources=traces`` and ``sources.mine=traces``."""
    return {value: value} if isinstance(value, str) else value


def _instance(kind: str, value: Any, where: tuple[str | int, ...]) -> ComponentConfig:
    if isinstance(value, ComponentConfig):
        return value
    fields = {"name": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping):
        problem = ConfigError(f"expected a component of kind '{kind}', got {value!r}")
        raise ComponentErrors([(where, problem)])
    name = fields.get("name")
    if not isinstance(name, str) or not name:
        problem = ConfigError(f"choose a component of kind '{kind}': {_choices(kind)}")
        raise ComponentErrors([(where, problem)])
    try:
        return registry().config_class(kind, name).model_validate(dict(fields))
    except PluginError as error:
        raise ComponentErrors([(where, error)]) from error
    except ValidationError as error:
        details: list[Any] = error.errors(include_url=False)
        raise ComponentErrors([((*where, *each["loc"]), each) for each in details]) from None


def _choices(kind: str) -> str:
    return ", ".join(sorted(registry().components(kind))) or "none is installed"


def _dump(value: Any, info: core_schema.SerializationInfo) -> Any:
    """Serialise by the component's own class, not by the base class of the annotation."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode=info.mode)
    if isinstance(value, Mapping):
        return {key: _dump(item, info) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_dump(item, info) for item in value]
    return value
