"""``cwm plugins``: what is installed, what it offers, what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cwm_core.cli.main import is_debug
from cwm_core.plugin_loading import Plugin
from cwm_core.plugins import registry


def plugins(
    kind: Annotated[
        str | None, typer.Argument(help="A component kind, such as optimizers.")
    ] = None,
    name: Annotated[str | None, typer.Argument(help="A component of that kind.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List plugins; with a KIND its components; with a NAME the fields of its config."""
    registry().check()
    found: Any
    show: Callable[[Any], None]
    if kind is None:
        found, show = [_plugin_facts(plugin) for plugin in registry().plugins()], _show_plugins
    elif name is None:
        found, show = _kind_facts(kind), _show_kind
    else:
        found, show = _component_facts(kind, name), _show_component
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show(found)


def _plugin_facts(plugin: Plugin) -> dict[str, Any]:
    return {
        "entry_point": plugin.entry_point,
        "value": plugin.value,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "disabled": plugin.disabled,
        "components": {
            kind: [component.name for component in components]
            for kind, components in plugin.components.items()
        },
        "commands": [command.name for command in plugin.commands],
        "config_packages": plugin.config_packages,
        "problems": [
            {"message": problem.message, "traceback": problem.traceback}
            for problem in plugin.problems
        ],
    }


def _kind_facts(kind: str) -> list[dict[str, str]]:
    return [
        {
            "name": component.name,
            "summary": component.summary,
            "distribution": registry().distribution(kind, component.name),
        }
        for component in registry().components(kind).values()
    ]


def _component_facts(kind: str, name: str) -> dict[str, Any]:
    config_class = registry().config_class(kind, name)
    component = registry().components(kind)[name]
    return {
        "kind": kind,
        "name": name,
        "summary": component.summary,
        "target": component.target,
        "distribution": registry().distribution(kind, name),
        "fields": [
            {
                "name": field_name,
                "type": _type_name(field.annotation),
                "default": _default(field),
                "description": " ".join((field.description or "").split()),
            }
            for field_name, field in config_class.model_fields.items()
            if field_name != "name"
        ],
    }


def _type_name(annotation: Any) -> str:
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return shown.replace("typing.", "").replace("pathlib.", "")


def _default(field: Any) -> str:
    if field.is_required():
        from cwm_core.config.base import Slot

        slots = [mark for mark in field.metadata if isinstance(mark, Slot) and mark.has_default]
        return repr(slots[0].default) if slots else "required"
    return repr(field.get_default(call_default_factory=True))


def _show_plugins(found: list[dict[str, Any]]) -> None:
    for facts in found:
        state = " (disabled)" if facts["disabled"] else ""
        print(f"{facts['distribution']} {facts['version']}{state}  [{facts['entry_point']}]")
        for label, names in {"commands": facts["commands"], **facts["components"]}.items():
            if names:
                print(f"  {label + ':':<18}{', '.join(names)}")
        for problem in facts["problems"]:
            print(f"  PROBLEM: {problem['message']}")
            if is_debug() and problem["traceback"]:
                print("    " + problem["traceback"].replace("\n", "\n    ").rstrip())


def _show_kind(found: list[dict[str, str]]) -> None:
    rows = [[facts["name"], facts["summary"], f"({facts['distribution']})"] for facts in found]
    _table(rows or [["no component of this kind is installed"]])


def _show_component(facts: dict[str, Any]) -> None:
    print(f"{facts['kind']} {facts['name']}  ({facts['distribution']})\n{facts['summary']}\n")
    _table(
        [
            [field[key] for key in ("name", "type", "default", "description")]
            for field in facts["fields"]
        ]
    )


def _table(rows: list[list[str]]) -> None:
    widths = (
        [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    )
    for row in rows:
        print(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        )
