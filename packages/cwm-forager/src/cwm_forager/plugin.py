"""What cwm-forager adds to the stack."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component


@hookimpl
def cwm_commands() -> list[Command]:
    """Return the commands."""
    return [
        Command("image", "cwm_forager.images.cli:app", "Make images to run code in."),
        Command("forage", "cwm_forager.cli:app", "Collect and prepare agent trajectories."),
    ]


@hookimpl
def cwm_environments() -> list[Component]:
    """Return the environments."""
    return [Component("swe", "cwm_forager.swe.config:SweConfig", "Repair repositories with tools.")]


@hookimpl
def cwm_agents() -> list[Component]:
    """Return the agents."""
    config = "cwm_forager.agent.config"
    return [
        Component("llm", f"{config}:Llm", "A model behind an engine, exact tokens."),
        Component("chat", f"{config}:Chat", "A model behind a chat server, with OpenAI tools."),
        Component("oracle", f"{config}:Oracle", "Submits the gold patch."),
        Component("noop", f"{config}:NoOp", "Changes nothing."),
        Component("scripted", f"{config}:Scripted", "Plays given turns."),
        Component("cheater", f"{config}:Cheater", "Tries one trick to be rewarded for nothing."),
    ]


@hookimpl
def cwm_sandboxes() -> list[Component]:
    """Return the sandbox in containers."""
    config = "cwm_forager.docker.config:DockerSandboxConfig"
    return [Component("docker", config, "A container of a Docker engine.")]


@hookimpl
def cwm_image_strategies() -> list[Component]:
    """Return the strategies of image builds."""
    config = "cwm_forager.images.config"
    return [
        Component("heuristic", f"{config}:HeuristicConfig", "Reads the project's own files."),
        Component("activ", f"{config}:ActivConfig", "Interprets GitHub Actions workflows."),
        Component("repoagent", f"{config}:RepoAgentConfig", "A model works until tests run."),
    ]


@hookimpl
def cwm_mutators() -> list[Component]:
    """Return the operators that break programs."""
    from cwm_forager.mutate.names import OPERATORS

    config = "cwm_forager.mutate.operators.config:OperatorConfig"
    return [
        *(Component(name, config, summary) for name, summary in OPERATORS.items()),
        Component(
            "llm_rewrite", "cwm_forager.mutate.llm_config:LlmRewriteConfig", "A model's own bug."
        ),
    ]
