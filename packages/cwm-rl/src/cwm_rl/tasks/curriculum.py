"""Curricula: which tasks are worth playing now, how long actions may be, who gets a hint."""

from __future__ import annotations

import random

from cwm_rl.tasks.config import TaskConfig


def worth_playing(config: TaskConfig, solve_rate: float | None, draw: float) -> bool:
    """Whether to play a task, given the share of solved episodes when it was last played.

    `draw`, uniform in 0..1, decides on revisits of tasks outside the window. Unknown ones are
    played. Source: CWM report (arXiv 2510.02387), RL section: solve rates of 0.1 to 0.7.
    """
    if config.solve_rates is None or solve_rate is None:
        return True
    low, high = config.solve_rates
    return low <= solve_rate <= high or draw < config.revisit


def action_tokens(config: TaskConfig, step: int) -> int:
    """Return the most tokens per action at a step."""
    if config.length is None:
        return config.max_tokens
    return max(1, min(config.max_tokens, round(config.length.at(step))))


def shows_hint(config: TaskConfig, step: int, seed: int) -> bool:
    """Whether a prompt shows its task's hint."""
    return config.hints is not None and random.Random(seed).random() < config.hints.at(step)


def overlength_penalty(config: TaskConfig, step: int, tokens: int, most: int) -> float:
    """Return what is added to the return of a solved episode of so many action tokens.

    0 up to `overlength_from` of `most`, then linearly to minus the scheduled weight. CWM punishes
    length on correct answers only, and anneals the weight.
    """
    if config.overlength is None:
        return 0.0
    free = config.overlength_from * most
    excess = min(1.0, max(0.0, (tokens - free) / max(most - free, 1e-9)))
    return -config.overlength.at(step) * excess
