"""Near matches and install advice for names that do not exist."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cwm_core.errors import PluginError

if TYPE_CHECKING:
    from cwm_core.plugins import Registry

_HOME_OF_KIND = {
    "programs": "cwm-tracer",
    "tracers": "cwm-tracer",
    "environments": "cwm-tracer",
    "sources": "cwm-train",
    "mixers": "cwm-train",
    "models": "cwm-train",
    "attentions": "cwm-train",
    "optimizers": "cwm-train",
    "schedules": "cwm-train",
    "loggers": "cwm-train",
    "advantages": "cwm-rl",
    "policy_losses": "cwm-rl",
    "rewards": "cwm-rl",
    "benchmarks": "cwm-eval",
    "sandboxes": "cwm-core",
    "executors": "cwm-core",
    "engines": "cwm-core",
}
_HOME_OF_COMPONENT = {
    ("engines", "local"): "cwm-train",
    ("executors", "ray"): "cwm-core[ray]",
}
_HOME_OF_COMMAND = {
    "trace": "cwm-tracer",
    "forage": "cwm-forager",
    "train": "cwm-train",
    "tokenizer": "cwm-train",
    "model": "cwm-train",
    "serve": "cwm-train",
    "rl": "cwm-rl",
    "eval": "cwm-eval",
}


def near(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return the names closest to `name`, best first."""
    from difflib import get_close_matches

    return get_close_matches(name, list(known), n=count, cutoff=0.6)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x' or 'y'?"`` or an empty string."""
    matches = near(name, known)
    return f"; did you mean {' or '.join(repr(match) for match in matches)}?" if matches else ""


def unknown_component(registry: Registry, kind: str, name: str) -> PluginError:
    """Return the error for a component that no plugin declares: near matches, what to install."""
    known = sorted(registry.components(kind))
    guess = did_you_mean(name, known)
    return PluginError(
        f"no component '{name}' of kind '{kind}'{guess}", _component_hint(registry, kind, name)
    )


def unknown_command(registry: Registry, name: str) -> PluginError:
    """Return the error for a subcommand that no plugin declares."""
    home = _HOME_OF_COMMAND.get(name)
    if home in {plugin.distribution for plugin in registry.plugins()}:
        return PluginError(
            f"'cwm {name}' is missing although {home} is installed",
            "`cwm plugins` shows whether the plugin is disabled or broken",
        )
    if home:
        return PluginError(f"'cwm {name}' is not installed", f"pip install {home}")
    guess = did_you_mean(name, registry.commands())
    return PluginError(f"unknown command '{name}'{guess}", "`cwm --help` lists the commands")


def _component_hint(registry: Registry, kind: str, name: str) -> str:
    known = sorted(registry.components(kind))
    home = _HOME_OF_COMPONENT.get((kind, name)) or (None if known else _HOME_OF_KIND.get(kind))
    shown = ", ".join(known) or "none, in no installed package"
    parts = [f"install it: pip install {home}" if home else f"available: {shown}"]
    broken = [plugin.distribution for plugin in registry.broken()]
    if broken:
        parts.append(f"plugins with problems: {', '.join(broken)} (see `cwm plugins`)")
    return "; ".join(parts)
