"""What happens inside a worker: decode, call, and describe whatever goes wrong as plain data."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any

from cwm_core.errors import CwmError

Reply = tuple[str, Any]
"""``("ready", None)``, ``("value", pickled)``, ``("error", fields)`` or ``("broken", text)``."""


class WorkerBody:
    """Runs items one after the other with the function that it was given last."""

    def __init__(self) -> None:
        self._fn: Callable[[Any], Any] | None = None

    def ready(self) -> Reply:
        """Say that the worker has started."""
        return "ready", None

    def load(self, fn: bytes) -> Reply:
        """Take a pickled function; what it imports does not count as an item's time."""
        try:
            self._fn = pickle.loads(fn)
        except BaseException as error:
            return "broken", f"{type(error).__name__}: {error}"
        return "ready", None

    def run(self, item: bytes) -> Reply:
        """Run one pickled item."""
        assert self._fn is not None
        try:
            return "value", pickle.dumps(self._fn(pickle.loads(item)), pickle.HIGHEST_PROTOCOL)
        except BaseException as error:
            return "error", describe(error)


def describe(error: BaseException) -> dict[str, str | None]:
    """Return the fields of an `ItemError` of kind ``"raised"``."""
    message = error.message if isinstance(error, CwmError) else _message(error)
    return {
        "message": message,
        "hint": error.hint if isinstance(error, CwmError) else None,
        "type_name": type(error).__qualname__,
        "trace": "".join(traceback.format_exception(error)),
    }


def _message(error: BaseException) -> str:
    try:
        return f"{type(error).__qualname__}: {error}"
    except Exception:
        return f"{type(error).__qualname__} (its message cannot be shown)"
