"""What cwm-core adds to the stack."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component


@hookimpl
def cwm_commands() -> list[Command]:
    """Return the commands of the shell itself."""
    return [
        Command(
            "quickstart", "cwm_core.cli.quickstart:quickstart", "Trace, train, evaluate: a tour."
        ),
        Command("run", "cwm_core.cli.run:run", "Run a recipe."),
        Command("doctor", "cwm_core.cli.doctor:doctor", "Show what this machine has and lacks."),
        Command("plugins", "cwm_core.cli.plugins:plugins", "List plugins, components, problems."),
    ]


@hookimpl
def cwm_config_packages() -> list[str]:
    """Return where the recipes are."""
    return ["pkg://cwm_core.recipes"]


@hookimpl
def cwm_engines() -> list[Component]:
    """Return the engines that need no torch."""
    return [
        Component("openai", "cwm_core.engine.config:OpenAIConfig", "Any OpenAI-compatible server."),
        Component(
            "scripted", "cwm_core.engine.config:ScriptedConfig", "Replays given completions."
        ),
    ]


@hookimpl
def cwm_executors() -> list[Component]:
    """Return the executors."""
    return [
        Component("local", "cwm_core.executor.config:LocalConfig", "Processes of this machine."),
        Component("ray", "cwm_core.executor.config:RayConfig", "Workers of a Ray cluster."),
    ]


@hookimpl
def cwm_sandboxes() -> list[Component]:
    """Return the sandbox of this machine."""
    return [
        Component(
            "local",
            "cwm_core.sandbox.config:LocalSandboxConfig",
            "Bubblewrap and resource limits on this machine.",
        ),
    ]
