"""The live side of an episode: a sandbox with a shell, and how to get back to an earlier point."""

from __future__ import annotations

from contextlib import AsyncExitStack

from cwm_core.components import ComponentConfig
from cwm_core.dialog.tools import ToolCall
from cwm_forager.agent.tools import Desk, ToolOutput
from cwm_forager.tasks.instance import Instance
from cwm_forager.tasks.place import open_repository


class Session:
    """Runs the tool calls of one episode, in a sandbox that is made with the first.

    States of an episode are immutable, its sandbox is not: a state remembers how many calls were
    made before it. Where the sandbox has gone on since, `at` makes another and repeats the calls.
    """

    def __init__(
        self, config: ComponentConfig, instance: Instance, timeout_s: float, diff_only: bool
    ) -> None:
        self.config, self.instance = config, instance
        self.timeout_s, self.diff_only = timeout_s, diff_only
        self.calls: list[ToolCall] = []
        self._desk: Desk | None = None
        self._closed = False
        self._stack = AsyncExitStack()

    async def at(self, calls: tuple[ToolCall, ...]) -> Session:
        """Return a session in which exactly these calls were made."""
        if tuple(self.calls) == calls and not self._closed:
            return self
        other = Session(self.config, self.instance, self.timeout_s, self.diff_only)
        try:
            for call in calls:
                await other.run(call)
        except BaseException:
            await other.close()
            raise
        return other

    async def run(self, call: ToolCall) -> ToolOutput:
        """Run a tool call; SandboxError when the sandbox cannot be made or fails."""
        desk = self._desk or await self._open()
        self.calls.append(call)
        return await desk.run(call)

    async def close(self) -> None:
        """Delete the sandbox; a later call is made in another, after the same calls."""
        self._closed, self._desk = True, None
        await self._stack.aclose()

    async def _open(self) -> Desk:
        sandbox = await open_repository(self.config, self.instance)
        self._stack.push_async_callback(sandbox.close)
        environment = {"PAGER": "cat", "GIT_PAGER": "cat", **self.instance.environment}
        shell = sandbox.shell(cwd=self.instance.root, env=environment)
        opened = await self._stack.enter_async_context(shell)
        self._desk = Desk(sandbox, opened, self.timeout_s, self.diff_only)
        return self._desk
