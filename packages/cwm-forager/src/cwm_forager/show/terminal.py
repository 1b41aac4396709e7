"""Trajectories in the terminal."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from cwm_core.env.trajectory import Trajectory, Turn
from cwm_forager.show.select import Named, exit_of, tests_of

_COLORS = {"prompt": "cyan", "action": "green", "observation": "yellow"}


def print_table(chosen: list[Named]) -> None:
    """Print a line per trajectory."""
    table = Table("trajectory", "agent", "exit", "resolved", "reward", "turns", "reason")
    for key, trajectory in chosen:
        verdict = trajectory.outcome.get("verdict") or {}
        reward = trajectory.rewards.get("environment")
        table.add_row(
            Text(key),
            str(trajectory.metadata.get("agent", "")),
            exit_of(trajectory),
            "yes" if trajectory.outcome.get("resolved") else "no",
            "" if reward is None else f"{reward:g}",
            str(len(trajectory.actions)),
            Text(str(verdict.get("reason") or trajectory.outcome.get("reason") or "")[:80]),
        )
    Console().print(table)


def print_one(key: str, trajectory: Trajectory) -> None:
    """Print all turns, the patch and the tests before and after."""
    console = Console()
    console.print(Text(f"{key}: {exit_of(trajectory)}", style="bold"))
    for number, turn in enumerate(trajectory.turns):
        console.print(_panel(number, turn))
    patch = trajectory.outcome.get("patch")
    if patch:
        console.print(Panel(Syntax(patch, "diff", word_wrap=True), title="patch"))
    _print_verdict(console, trajectory)


def _panel(number: int, turn: Turn) -> Panel:
    tokens = "" if turn.token_ids is None else f" ({len(turn.token_ids)} tokens)"
    title = f"{number} {turn.role}{tokens}"
    return Panel(
        Text(turn.text), title=title, title_align="left", border_style=_COLORS.get(turn.role, "")
    )


def _print_verdict(console: Console, trajectory: Trajectory) -> None:
    verdict = trajectory.outcome.get("verdict") or {}
    if verdict:
        console.print(Text(f"{verdict.get('result')} {verdict.get('reason', '')}".rstrip()))
    tests = tests_of(trajectory)
    if not tests:
        return
    table = Table("test", "before", "after")
    changed = [row for row in tests if row[1] != row[2]]
    for row in changed[:50]:
        table.add_row(*map(Text, row))
    console.print(table)
    same = Counter(before for _, before, after in tests if before == after)
    for outcome, count in same.items():
        console.print(f"{count} tests {outcome} before and after")
