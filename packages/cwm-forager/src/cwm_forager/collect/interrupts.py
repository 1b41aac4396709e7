"""Ctrl-C and SIGTERM as cancellation, so that sandboxes are deleted before the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

Value = TypeVar("Value")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def interruptible(work: Coroutine[Any, Any, Value]) -> Value:
    """Await `work`; a signal cancels it and shows as KeyboardInterrupt when it has cleaned up.

    Outside of the main thread, where there are no signals, it is awaited as it is.
    """
    task = asyncio.ensure_future(work)
    came: list[int] = []

    def on_signal(number: int) -> None:
        came.append(number)
        task.cancel()

    with _handled(on_signal):
        try:
            return await task
        except asyncio.CancelledError:
            if came:
                raise KeyboardInterrupt from None
            raise


@contextlib.contextmanager
def _handled(on_signal: Any) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = {}
    for number in _SIGNALS:
        with contextlib.suppress(ValueError, RuntimeError):
            before[number] = signal.getsignal(number)
            loop.add_signal_handler(number, on_signal, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(ValueError, RuntimeError):
                loop.remove_signal_handler(number)
                signal.signal(number, handler)
