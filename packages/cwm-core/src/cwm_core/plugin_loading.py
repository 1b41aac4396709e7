"""Guarded loading: whatever a plugin does wrong stays a problem of that plugin alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from cwm_core import hookspecs
from cwm_core.plugins import Command, Component

GROUP = "cwm"
FIRST_PARTY = ("cwm-core", "cwm-tracer", "cwm-forager", "cwm-train", "cwm-rl", "cwm-eval")
_LIFECYCLE = (
    "cwm_run_started",
    "cwm_metrics",
    "cwm_checkpoint_saved",
    "cwm_validation",
    "cwm_trajectory_finished",
    "cwm_run_finished",
)
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a plugin, in one line, and where it happened."""

    message: str
    traceback: str = ""


@dataclass(slots=True)
class Plugin:
    """One entry point of the group ``cwm``: where it comes from and what it declares."""

    entry_point: str
    value: str
    distribution: str
    version: str
    disabled: bool = False
    components: dict[str, list[Component]] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)
    config_packages: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    hooks: dict[str, Callable[..., Any]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How messages name the plugin."""
        return f"{self.distribution} (entry point '{self.entry_point}')"

    def report(self, message: str, cause: BaseException | None = None) -> bool:
        """Record a problem; False when it is known already."""
        if any(problem.message == message for problem in self.problems):
            return False
        self.problems.append(Problem(message, _format(cause)))
        return True


def load_plugins(disabled: set[str]) -> list[Plugin]:
    """Load every entry point of the group, own packages first, then by distribution."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    owners: dict[tuple[str, str], Plugin] = {}
    plugins = []
    for plugin, entry in _entries():
        plugin.disabled = bool({plugin.entry_point, plugin.distribution} & disabled)
        if not plugin.disabled:
            _load(manager, plugin, entry, owners)
        plugins.append(plugin)
    return plugins


def component_kinds() -> list[str]:
    """Kinds in the order of the hookspecs: every collected hook that returns components."""
    names = [name for name in vars(hookspecs) if name.startswith("cwm_")]
    others = {*_LIFECYCLE, "cwm_commands", "cwm_probes", "cwm_config_packages"}
    return [name.removeprefix("cwm_") for name in names if name not in others]


def _entries() -> list[tuple[Plugin, EntryPoint]]:
    found = {}
    for entry in entry_points(group=GROUP):
        name = entry.dist.name if entry.dist else "?"
        version = entry.dist.version if entry.dist else "?"
        found[name, entry.name] = (Plugin(entry.name, entry.value, name, version), entry)
    return sorted(found.values(), key=lambda pair: _order(pair[0]))


def _order(plugin: Plugin) -> tuple[int, str, str]:
    own = plugin.distribution in FIRST_PARTY
    rank = FIRST_PARTY.index(plugin.distribution) if own else len(FIRST_PARTY)
    return rank, plugin.distribution, plugin.entry_point


def _load(
    manager: pluggy.PluginManager,
    plugin: Plugin,
    entry: EntryPoint,
    owners: dict[tuple[str, str], Plugin],
) -> None:
    try:
        loaded = entry.load()
    except (Exception, SystemExit) as error:
        plugin.report(f"cannot be imported: {type(error).__name__}: {error}", error)
        return
    if isinstance(loaded, type):
        plugin.report(f"'{plugin.value}' is a class; name a module or an instance")
        return
    try:
        manager.register(loaded, name=f"{plugin.distribution}:{plugin.entry_point}")
    except Exception as error:
        plugin.report(f"is rejected: {' '.join(str(error).split())}", error)
        return
    _take_hooks(manager, plugin, loaded)
    _collect(plugin, owners)


def _take_hooks(manager: pluggy.PluginManager, plugin: Plugin, loaded: object) -> None:
    callers = manager.get_hookcallers(loaded) or []
    _check_marks(plugin, loaded, {caller.name for caller in callers})
    for caller in callers:
        for implementation in caller.get_hookimpls():
            if implementation.plugin is not loaded:
                continue
            if not caller.has_spec():
                plugin.report(_unknown_hook(caller.name))
            elif implementation.wrapper or implementation.hookwrapper:
                plugin.report(f"hook wrappers are not supported ({caller.name})")
            else:
                plugin.hooks[caller.name] = _with_own_arguments(implementation)


def _check_marks(plugin: Plugin, loaded: object, hooks: set[str]) -> None:
    """Report what looks like a hook but is not marked, and objects that cannot hold hooks."""
    for name in dir(loaded):
        if name.startswith("cwm_") and name not in hooks and callable(getattr(loaded, name)):
            plugin.report(f"'{name}' is not marked with @cwm_core.hookspecs.hookimpl")
    if not hooks and not isinstance(loaded, ModuleType):
        plugin.report(f"'{plugin.value}' is {type(loaded).__name__}, not a module with hooks")


def _with_own_arguments(implementation: pluggy.HookImpl) -> Callable[..., Any]:
    """Let a hook implementation take only those arguments that it names, as pluggy does."""

    def call(**arguments: Any) -> Any:
        return implementation.function(*[arguments[name] for name in implementation.argnames])

    return call


def _unknown_hook(name: str) -> str:
    from cwm_core.suggestions import did_you_mean

    known = [hook for hook in vars(hookspecs) if hook.startswith("cwm_")]
    return f"implements an unknown hook '{name}'{did_you_mean(name, known)}"


def _collect(plugin: Plugin, owners: dict[tuple[str, str], Plugin]) -> None:
    for kind in component_kinds():
        components = _returned(plugin, f"cwm_{kind}", Component)
        kept = [item for item in components if _claim(plugin, kind, item.name, owners)]
        if kept:
            plugin.components[kind] = kept
    commands = _returned(plugin, "cwm_commands", Command)
    plugin.commands = [item for item in commands if _claim(plugin, "commands", item.name, owners)]
    plugin.probes = _returned(plugin, "cwm_probes", str)
    packages = _returned(plugin, "cwm_config_packages", str)
    plugin.config_packages = [package.removeprefix("pkg://") for package in packages]


def _returned(plugin: Plugin, hook: str, expected: type[_T]) -> list[_T]:
    """Call one collected hook of one plugin and keep what has the right type."""
    if hook not in plugin.hooks:
        return []
    try:
        returned = plugin.hooks[hook]()
        items = [] if returned is None else list(_iterable(returned))
    except Exception as error:
        plugin.report(f"hook {hook} raised {type(error).__name__}: {error}", error)
        return []
    good = [item for item in items if isinstance(item, expected)]
    for item in items:
        if not isinstance(item, expected):
            plugin.report(f"hook {hook} returned {item!r}, expected a list of {expected.__name__}")
    return good


def _iterable(returned: Any) -> Iterable[Any]:
    is_list = isinstance(returned, Iterable) and not isinstance(returned, (str, bytes))
    return returned if is_list else [returned]


def _claim(plugin: Plugin, kind: str, name: str, owners: dict[tuple[str, str], Plugin]) -> bool:
    """Give `name` to its first plugin; a later one gets a problem that names both."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        plugin.report(f"{kind}: {name!r} is no valid name; use lower-case letters, digits, _ and -")
        return False
    owner = owners.get((kind, name))
    if owner is None:
        owners[kind, name] = plugin
        return True
    plugin.report(
        f"{kind} '{name}' of {plugin.distribution} is already declared by {owner.label};"
        " the first one stays"
    )
    return False


def _format(cause: BaseException | None) -> str:
    if cause is None:
        return ""
    import traceback

    return "".join(traceback.format_exception(cause))
