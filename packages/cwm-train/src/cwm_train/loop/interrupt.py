"""Ctrl-C and SIGTERM as a request that the loop answers between steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, NoReturn


class Interrupt:
    """While the block runs, the first signal only sets `requested`; a second acts at once."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.requested = False
        self._received: tuple[int, FrameType | None] | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._previous = {n: signal.signal(n, self._note) for n in self._SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def leave(self) -> NoReturn:
        """Do what the signal would have done without us; raises KeyboardInterrupt."""
        self._restore()
        if self._received is not None:
            number, frame = self._received
            handler = self._before.get(number)
            if callable(handler):
                handler(number, frame)
        raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested, self._received = True, (number, frame)
        self._restore()

    def _restore(self) -> None:
        self._before = dict(self._previous) or getattr(self, "_before", {})
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
