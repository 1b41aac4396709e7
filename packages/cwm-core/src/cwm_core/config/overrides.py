"""Command-line overrides in hydra's grammar, rewritten so that pydantic is the only schema."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from cwm_core.config.repository import NOTHING
from cwm_core.config.yaml_files import escape_interpolations
from cwm_core.errors import ConfigError

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")


@dataclass(frozen=True, slots=True)
class Overrides:
    """Parsed overrides: `choices` of components for single slots, and everything else."""

    choices: dict[str, str | None]
    parsed: list[Override]


def parse_overrides(texts: list[str], single_slots: Collection[str], where: str) -> Overrides:
    """Parse ``key=value`` texts; ConfigError for what is no override or a sweep.

    Hydra itself would refuse keys that no YAML file mentions, so every value override is a
    forced one (``++key=value``): unknown keys are pydantic's business. A choice of component
    (``optimizer=muon`` or ``optimizer.name=muon``) becomes a config-group choice.
    """
    parser = OverridesParser.create()
    parsed = [_parse(parser, text, where) for text in texts]
    prefixes = {prefix for override in parsed for prefix in _ancestors(override.key_or_group)}
    choices: dict[str, str | None] = {}
    rest = []
    for text, override in zip(texts, parsed, strict=True):
        slot = override.key_or_group.removesuffix(".name")
        if slot in single_slots and not override.is_delete():
            choices[slot] = _component_name(override, slot, where)
        else:
            rest.append(parser.parse_override(_rewrite(text, override, prefixes)))
    groups = [parser.parse_override(f"{slot}={name or NOTHING}") for slot, name in choices.items()]
    return Overrides(choices, [*groups, *rest])


def parse_values(texts: list[str], where: str) -> dict[str, Any]:
    """Parse ``key=value`` texts to plain values; ConfigError as for `parse_overrides`."""
    parser = OverridesParser.create()
    parsed = [_parse(parser, text, where) for text in texts]
    return {override.key_or_group: override.value() for override in parsed}


def override_text(key: str, value: Any) -> str:
    """Return ``key=value`` that parses back to `value` (None, bool, number, text, list, dict)."""
    return f"{key}={_value_text(value)}"


def _value_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        items = (f"{_value_text(key)}: {_value_text(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value_text(item) for item in value)}]"
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in ("null", "true", "false", "nan", "inf"):
        return text
    return QuotedString(escape_interpolations(text), Quote.double).with_quotes()


def _parse(parser: OverridesParser, text: str, where: str) -> Override:
    if "=" not in text and not text.startswith("~"):
        raise ConfigError(f"cannot read '{text}' in {where}", "overrides look like key=value")
    try:
        parsed = parser.parse_override(text)
    except HydraException as error:
        raise ConfigError(
            f"cannot read the override '{text}' in {where}: {_first_line(error)}",
            f"quote the value: '{text.partition('=')[0]}=\"...\"' (with quotes for the shell, too)",
        ) from error
    if parsed.is_sweep_override():
        key = parsed.key_or_group
        value = text.partition("=")[2]
        raise ConfigError(
            f"'{text}' in {where} is a sweep; one command runs one configuration",
            f"a list is {key}=[{value}], a text {key}='\"{value}\"'",
        )
    if parsed.package is not None:
        raise ConfigError(f"cannot read '{text}' in {where}: '@' is not used in keys")
    return parsed


def _component_name(override: Override, slot: str, where: str) -> str | None:
    value = override.value()
    if value is None or (isinstance(value, str) and re.fullmatch(r"[\w-]+", value)):
        return value
    raise ConfigError(
        f"wrong value for '{slot}' in {where}: {value!r} is no component's name",
        f"write {slot}=NAME {slot}.FIELD=VALUE",
    )


def _rewrite(text: str, override: Override, prefixes: set[str]) -> str:
    if override.is_delete():
        return text
    key, _, value = text.lstrip("+").partition("=")
    is_text = isinstance(override._value, (str, QuotedString))
    if is_text and key in prefixes:  # a component's name beside overrides of its fields
        key = f"{key}.name"
    return f"++{key}={value}"


def _ancestors(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
