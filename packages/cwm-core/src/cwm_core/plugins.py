"""Components, commands and the registry that finds them through pluggy hooks.

This module stays light (no pydantic): every ``plugin.py`` imports it to print help.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cwm_core.errors import CwmError, PluginError

if TYPE_CHECKING:
    from cwm_core.components import ComponentConfig as ComponentConfig
    from cwm_core.plugin_loading import Plugin


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


def __getattr__(name: str) -> Any:
    if name == "ComponentConfig":  # pydantic costs more than the whole of `cwm --help`
        from cwm_core.components import ComponentConfig

        return ComponentConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def resolve(target: str) -> Any:
    """Import what ``"module:attribute"`` names; raises whatever the import raises."""
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise ValueError(f"target {target!r} is not of the form 'module:attribute'")
    found: Any = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found


class Registry:
    """What the loaded plugins declare; built once per process by `registry()`."""

    def __init__(self, plugins: list[Plugin]) -> None:
        self._plugins = plugins
        self._components: dict[str, dict[str, tuple[Component, Plugin]]] = {}
        self._commands: dict[str, tuple[Command, Plugin]] = {}
        for plugin in plugins:
            self._index(plugin)

    def _index(self, plugin: Plugin) -> None:
        for kind, components in plugin.components.items():
            for component in components:
                self._components.setdefault(kind, {})[component.name] = (component, plugin)
        for command in plugin.commands:
            self._commands[command.name] = (command, plugin)

    def plugins(self) -> list[Plugin]:
        """Every entry point of the group ``cwm``, loaded or not, with its problems."""
        return list(self._plugins)

    def kinds(self) -> list[str]:
        """All component kinds, also those without a component, in the order of the hookspecs."""
        from cwm_core.plugin_loading import component_kinds

        return component_kinds()

    def components(self, kind: str) -> dict[str, Component]:
        """Components of `kind` by name; PluginError for an unknown kind."""
        return {name: found[0] for name, found in self._of_kind(kind).items()}

    def commands(self) -> dict[str, Command]:
        """Subcommands of `cwm` by name, sorted."""
        return {name: self._commands[name][0] for name in sorted(self._commands)}

    def probes(self) -> list[tuple[str, Plugin]]:
        """Targets of what `cwm doctor` looks for besides its own, each with its plugin."""
        return [(target, plugin) for plugin in self._plugins for target in plugin.probes]

    def config_packages(self) -> list[str]:
        """Names of the packages that hold YAML recipes and experiments, core's own first."""
        return [package for plugin in self._plugins for package in plugin.config_packages]

    def distribution(self, kind: str, name: str) -> str:
        """Return the name of the distribution that declares a component."""
        return self._of_kind(kind)[name][1].distribution

    def config_class(self, kind: str, name: str) -> type[ComponentConfig]:
        """Import a component's config class; PluginError when unknown or broken."""
        found = self._of_kind(kind).get(name)
        if found is None:
            from cwm_core.suggestions import unknown_component

            raise unknown_component(self, kind, name)
        return _load_config_class(kind, *found)

    def make(self, kind: str, name: str, /, **fields: Any) -> ComponentConfig:
        """Return a validated config of a component; ConfigError names every wrong field."""
        from pydantic import ValidationError

        from cwm_core.config.messages import validation_error

        config_class = self.config_class(kind, name)
        try:
            return config_class.model_validate({**fields, "name": name})
        except ValidationError as error:
            raise validation_error(error, config_class, f"{kind} '{name}'") from None

    def check(self) -> None:
        """Import every component's config class; failures become problems of its plugin."""
        for kind, found in self._components.items():
            for component, plugin in found.values():
                try:
                    _load_config_class(kind, component, plugin)
                except PluginError as error:
                    plugin.report(error.message, error.__cause__)

    def emit(self, hook: str, /, **arguments: Any) -> None:
        """Call the lifecycle hook ``cwm_<hook>`` of every plugin.

        A hook that raises is logged and becomes a problem of its plugin; the run goes on.
        """
        for plugin in self._plugins:
            call = plugin.hooks.get(f"cwm_{hook}")
            if call is None:
                continue
            try:
                call(**arguments)
            except Exception as error:
                message = f"hook cwm_{hook} raised {type(error).__name__}: {error}"
                if plugin.report(message, error):
                    import logging  # not needed to print help

                    logging.getLogger(__name__).warning("plugin %s: %s", plugin.label, message)

    def broken(self) -> Iterator[Plugin]:
        """Yield the plugins with problems."""
        return (plugin for plugin in self._plugins if plugin.problems)

    def _of_kind(self, kind: str) -> Mapping[str, tuple[Component, Plugin]]:
        if kind not in self.kinds():
            from cwm_core.suggestions import did_you_mean

            guess = did_you_mean(kind, self.kinds())
            raise PluginError(f"unknown component kind '{kind}'{guess}", "see `cwm plugins`")
        return self._components.get(kind, {})


def _load_config_class(kind: str, component: Component, plugin: Plugin) -> type[ComponentConfig]:
    from cwm_core.components import ComponentConfig

    where = f"{kind} '{component.name}' of {plugin.label}"
    try:
        found = resolve(component.target)
    except CwmError:
        raise
    except Exception as error:
        message = f"{where} cannot be loaded: {type(error).__name__}: {error}"
        raise PluginError(message, _load_hint(component, error)) from error
    if not (isinstance(found, type) and issubclass(found, ComponentConfig)):
        raise PluginError(f"{where}: {component.target} is no subclass of ComponentConfig")
    return found


def _load_hint(component: Component, error: Exception) -> str:
    missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    if missing and not component.target.startswith(missing.split(".")[0]):
        return f"install the missing module: pip install {missing.split('.')[0]}"
    return f"its target is '{component.target}'; run with --debug for the traceback"


@functools.cache
def registry() -> Registry:
    """Load all plugins, guarded, once per process.

    ``CWM_DISABLED_PLUGINS`` (comma-separated entry points or distributions) leaves some out.
    """
    from cwm_core.plugin_loading import load_plugins

    disabled = os.environ.get("CWM_DISABLED_PLUGINS", "")
    return Registry(load_plugins({part.strip() for part in disabled.split(",") if part.strip()}))
