"""Validation errors in one message that names the key, where, and the fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from cwm_core.config.base import ComponentErrors, slots
from cwm_core.errors import ConfigError, CwmError
from cwm_core.suggestions import near

_Path = tuple[str | int, ...]


def validation_error(
    error: ValidationError,
    model: type[BaseModel],
    where: str,
    data: Mapping[str, Any] | None = None,
) -> ConfigError:
    """Return one ConfigError for everything that pydantic found.

    `data` is what was validated: it says which component each slot holds, so that suggestions
    know the keys that really exist.
    """
    keys = list(known_keys(model, data or {}))
    lines, hints = [], []
    for path, problem in _flatten(error):
        line, hint = _describe(path, problem, keys, where)
        lines.append(line)
        if hint and hint not in hints:
            hints.append(hint)
    return ConfigError("\n".join(lines), "; ".join(hints[:3]) or None)


def known_keys(model: type[BaseModel], data: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key that exists in `model` with the components chosen in `data`."""
    chosen = slots(model)
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        yield key
        value = data.get(name)
        if name in chosen:
            slot, many = chosen[name]
            value = slot.default if value is None and slot.has_default else value
            yield from _slot_keys(slot.kind, many, value, key)
        else:
            yield from _model_keys(field.annotation, value, key)


def _model_keys(annotation: Any, value: Any, key: str) -> Iterator[str]:
    """Keys of a nested model, or of each model in a list."""
    if _is_model(annotation):
        yield from known_keys(annotation, value if isinstance(value, Mapping) else {}, f"{key}.")
    elif get_origin(annotation) is list and isinstance(value, list):
        (item,) = get_args(annotation)
        for index, each in enumerate(value if _is_model(item) else []):
            yield from known_keys(
                item, each if isinstance(each, Mapping) else {}, f"{key}.{index}."
            )


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _slot_keys(kind: str, many: type | None, value: Any, key: str) -> Iterator[str]:
    if many is dict and isinstance(value, Mapping):
        for name, item in value.items():
            yield from _component_keys(kind, item, f"{key}.{name}.")
    elif many is None:
        yield from _component_keys(kind, value, f"{key}.")


def _component_keys(kind: str, value: Any, prefix: str) -> Iterator[str]:
    from cwm_core.plugins import registry

    fields = {"name": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping) or not isinstance(fields.get("name"), str):
        return
    try:
        config_class = registry().config_class(kind, fields["name"])
    except CwmError:
        return
    yield from known_keys(config_class, fields, prefix)


def _flatten(error: ValidationError) -> Iterator[tuple[_Path, Any]]:
    for each in error.errors(include_url=False):
        yield from _expand(tuple(each["loc"]), each)


def _expand(path: _Path, problem: Any) -> Iterator[tuple[_Path, Any]]:
    nested = problem.get("ctx", {}).get("error") if isinstance(problem, Mapping) else None
    if isinstance(nested, ComponentErrors):
        for inner_path, inner in nested.errors:
            yield from _expand((*path, *inner_path), inner)
    else:
        yield path, problem


def _describe(path: _Path, problem: Any, keys: list[str], where: str) -> tuple[str, str | None]:
    key = ".".join(str(part) for part in path)
    if isinstance(problem, CwmError):
        return f"wrong value for '{key}' in {where}: {problem.message}", problem.hint
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}' in {where}{_similar(key, keys)}", _siblings(key, keys)
    if problem["type"] == "missing":
        return f"missing value for '{key}' in {where}", f"set it: {key}=..."
    shown = _shorten(repr(problem.get("input")))
    message = problem["msg"].removeprefix("Value error, ")
    return f"wrong value for '{key}' in {where}: {message} (got {shown})", _quoting(key, problem)


def _similar(key: str, keys: list[str]) -> str:
    """Prefer the same last name elsewhere in the tree, then a similar spelling."""
    last = key.rsplit(".", 1)[-1]
    same = [known for known in keys if known.rsplit(".", 1)[-1] == last and known != key]
    parent = key.rpartition(".")[0]
    siblings = [known for known in keys if known.rpartition(".")[0] == parent]
    matches = same[:2] or _by_last(last, siblings) or _by_last(last, keys)
    return f"; did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""


def _by_last(last: str, keys: list[str]) -> list[str]:
    by_name = {known.rsplit(".", 1)[-1]: known for known in reversed(keys)}
    return [by_name[name] for name in near(last, by_name, 1)]


def _siblings(key: str, keys: list[str]) -> str:
    parent = key.rpartition(".")[0]
    known = [each.rsplit(".", 1)[-1] for each in keys if each.rpartition(".")[0] == parent]
    return f"keys of '{parent}': {', '.join(known)}" if parent else f"keys: {', '.join(known)}"


def _quoting(key: str, problem: Mapping[str, Any]) -> str | None:
    if problem["type"] in ("string_type", "path_type") and not isinstance(
        problem.get("input"), (list, dict)
    ):
        return f"quote text that looks like a number or null: '{key}=\"...\"'"
    return None


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
