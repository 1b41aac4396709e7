"""Agents that want to know the task that they play."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from cwm_core.env.environment import Agent, Task


@runtime_checkable
class TaskAgent(Protocol):
    """An agent that is made anew for every episode, such as an oracle."""

    def for_task(self, task: Task) -> Agent:
        """Return the agent for one episode of `task`."""
        ...


def agent_for(agent: Agent | TaskAgent, task: Task) -> Agent:
    """Return the agent that plays `task`."""
    return agent.for_task(task) if isinstance(agent, TaskAgent) else agent
