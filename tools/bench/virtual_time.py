"""An event loop whose clock jumps to the next timer instead of waiting for it.

What sleeps costs no time, and what computes counts as none: a simulation's result depends on its
design alone, not on how busy the machine is.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for events without waiting, unless a thread still works."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if found or timeout is None or timeout <= 0:
            return found if found or timeout is not None else super().select(None)
        if self.loop.working:
            return super().select(None)  # a thread that ends wakes the loop
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only when nothing is left to do; work of threads takes none."""

    def __init__(self) -> None:
        self.now = 0.0
        self.working = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the simulated time in seconds."""
        return self.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> Any:
        """Count the work, so that time stands still until it is done."""
        self.working += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._worked)
        return future

    def _worked(self, future: Any) -> None:
        self.working -= 1


def run_virtual(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in simulated time; return what it returns."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
