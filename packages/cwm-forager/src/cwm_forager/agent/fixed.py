"""Agents that think nothing: the oracle, the no-op and the scripted one."""

from __future__ import annotations

from collections.abc import Sequence

from cwm_core.dialog.messages import Message
from cwm_core.dialog.tools import ToolCall
from cwm_core.env.environment import Action, Observation, Task
from cwm_forager.tasks.instance import Instance, instance_of

PATCH = ".git/cwm.patch"
"""Where these agents keep a patch: below ``.git``, so that it is no part of itself."""
WRITE_PATCH = f"git add -A && git diff --cached HEAD > {PATCH}; wc -c {PATCH}"


class ScriptedAgent:
    """Plays given texts in order, then the last one again and again."""

    def __init__(self, turns: Sequence[str], values: dict[str, str] | None = None) -> None:
        self.turns, self.values = tuple(turns), values or {}

    def for_task(self, task: Task) -> ScriptedAgent:
        """Return the agent with the instance's values filled in."""
        instance = instance_of(task)
        kept = ("id", "root", "gold_patch")
        return ScriptedAgent(self.turns, {name: getattr(instance, name) for name in kept})

    async def act(
        self, observations: tuple[Observation, ...], actions: tuple[Action, ...]
    ) -> Action:
        """Return the next text."""
        text = self.turns[min(len(actions), len(self.turns) - 1)]
        for name, value in self.values.items():
            text = text.replace(f"{{{name}}}", value)
        return Action(text)


class OracleAgent:
    """Knows the repair."""

    def for_task(self, task: Task) -> ScriptedAgent:
        """Return an agent that applies the gold patch of the task."""
        return ScriptedAgent(repairing(instance_of(task)))

    async def act(
        self, observations: tuple[Observation, ...], actions: tuple[Action, ...]
    ) -> Action:
        """Give up: without its task it knows nothing."""
        return Action("I know no task.")


class NoOpAgent:
    """Makes an empty commit's worth of changes."""

    async def act(
        self, observations: tuple[Observation, ...], actions: tuple[Action, ...]
    ) -> Action:
        """Return the next of three turns."""
        turns = [*submitting([]), "## Nothing\n\nNothing was changed."]
        return Action(turns[min(len(actions), len(turns) - 1)])


def repairing(instance: Instance) -> list[str]:
    """Return turns that write the gold patch into a file, apply it and submit the difference."""
    from cwm_core.dialog.edits import CreateBlock

    gold = ".git/gold.patch"
    write = Message.assistant(
        "The fault is known.",
        calls=[ToolCall("create", CreateBlock(gold, instance.gold_patch).render())],
    )
    apply = f"git apply --whitespace=nowarn {gold}"
    return [write.content, *submitting([apply])]


def submitting(commands: Sequence[str]) -> list[str]:
    """Return turns that run commands, submit the difference to the start, and end."""
    turns = [
        Message.assistant("A step.", calls=[ToolCall("bash", command)]).content
        for command in (*commands, WRITE_PATCH)
    ]
    turns.append(Message.assistant("Done.", calls=[ToolCall("submit", PATCH)]).content)
    return [*turns, "## Summary\n\nThe fault was sought and repaired; the tests say so."]
