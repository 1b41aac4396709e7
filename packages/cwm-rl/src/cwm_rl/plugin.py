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
def cwm_policy_losses() -> list[Component]:
    """Return the policy losses."""
    module = "cwm_rl.algorithm.losses"
    return [
        Component("cwm", f"{module}:CwmLossConfig", "Clipped ratios over a constant divisor."),
        Component("grpo", f"{module}:GrpoLossConfig", "Means of episodes, then their mean."),
        Component("dr_grpo", f"{module}:DrGrpoLossConfig", "Over episodes times most tokens."),
        Component("dapo", f"{module}:DapoLossConfig", "Clip higher, mean over tokens."),
        Component("cispo", f"{module}:CispoLossConfig", "Clipped weights, whole gradients."),
        Component("gspo", f"{module}:GspoLossConfig", "One clipped ratio per episode."),
        Component("reinforce", f"{module}:ReinforceLossConfig", "Without ratios, for RLOO."),
    ]


@hookimpl
def cwm_rewards() -> list[Component]:
    """Return the rewards."""
    module = "cwm_rl.rewards.config"
    return [
        Component("exact_match", f"{module}:ExactMatchConfig", "The answer, to the character."),
        Component("trace_match", f"{module}:TraceMatchConfig", "The true execution's frames."),
        Component("unit_tests", f"{module}:UnitTestsConfig", "Code that passes tests."),
        Component("math_answer", f"{module}:MathAnswerConfig", "Mathematical equality."),
        Component("patch_similarity", f"{module}:PatchSimilarityConfig", "Tests or likeness."),
        Component("format", f"{module}:FormatConfig", "The form of the answer."),
        Component("length_penalty", f"{module}:LengthPenaltyConfig", "Against long answers."),
        Component("combined", f"{module}:CombinedConfig", "Several rewards as one."),
    ]


@hookimpl
def cwm_environments() -> list[Component]:
    """Return environments to train in."""
    module = "cwm_rl.environments.config"
    return [
        Component("questions", f"{module}:QuestionsConfig", "Questions from a file, as a chat."),
        Component("lookup", f"{module}:LookupConfig", "A hidden value, and a tool: two turns."),
    ]


@hookimpl
def cwm_commands() -> list[Command]:
    """Return the commands."""
    return [Command("rl", "cwm_rl.cli:app", "Reinforcement learning.")]


@hookimpl
def cwm_config_packages() -> list[str]:
    """Return where the recipes are."""
    return ["pkg://cwm_rl.recipes"]
