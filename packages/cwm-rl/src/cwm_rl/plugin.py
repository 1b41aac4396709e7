"""What cwm-rl adds to the stack."""

from __future__ import annotations

from cwm_core.hookspecs import hookimpl
from cwm_core.plugins import Command, Component

_ADVANTAGES = "cwm_rl.algorithm.config"


@hookimpl
def cwm_advantages() -> list[Component]:
    """Return the advantage estimators."""
    return [
        Component(
            "cwm", f"{_ADVANTAGES}:LengthWeightedConfig", "Minus the length-weighted group mean."
        ),
        Component(
            "grpo", f"{_ADVANTAGES}:GroupNormalisedConfig", "Group mean and deviation normalised."
        ),
        Component("dr_grpo", f"{_ADVANTAGES}:GroupCentredConfig", "Minus the group mean."),
        Component("rloo", f"{_ADVANTAGES}:LeaveOneOutConfig", "Minus the mean of the others."),
    ]


@hookimpl
def cwm_rewards() -> list[Component]:
    """Return the rewards."""
    return [
        Component(
            "exact_match", "cwm_rl.rewards:ExactMatchConfig", "The answer, to the character."
        ),
        Component("trace_match", "cwm_rl.rewards:TraceMatchConfig", "The true execution's frames."),
        Component("length_penalty", "cwm_rl.rewards:LengthPenaltyConfig", "Against long answers."),
    ]


@hookimpl
def cwm_commands() -> list[Command]:
    """Return the commands."""
    return [Command("rl", "cwm_rl.cli:app", "Reinforcement learning: score trajectories.")]
