"""The untrusted side: runs a solution and answers questions about it with data.

Nothing here can be relied on once the solution runs, since both share a process. It holds no
expected value and no test: all that a solution can do to it is to change its own answers.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sys
from collections.abc import Callable
from typing import Any

from . import wire
from .channel import ClosedError, receive, send

_NULL = "/dev/null"


def main(fds: list[int]) -> None:
    """Serve a judge: descriptors of the job and of the connection to the judge."""
    control, peer = (socket.socket(fileno=fd) for fd in fds)
    job = wire.loads(receive(control))
    control.close()
    _silence()
    random.seed(0)  # a fork has seeded it anew
    Guest(peer).serve(job)


def _silence() -> None:
    null = os.open(_NULL, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


class Guest:
    """Holds the solution's namespace and the objects that a judge may ask about."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._names: dict[str, Any] = {"__name__": "solution", "__builtins__": __builtins__}
        self._kept: list[Any] = []
        self._operations: dict[str, Callable[..., Any]] = {
            "call": self._call,
            "evaluate": self._evaluate,
            "get": lambda target, name: getattr(self._object(target), name),
            "set": lambda target, name, value: setattr(self._object(target), name, value),
            "item": lambda target, key: self._object(target)[key],
            "list": lambda target: list(self._object(target)),
            "length": self._length,
        }

    def serve(self, job: dict[str, Any]) -> None:
        """Run the solution, then answer until the judge is gone."""
        self._answer(self._run, [job["code"]])
        with contextlib.suppress(ClosedError):
            while True:
                operation, arguments = wire.loads(receive(self._peer), self._made)
                self._answer(self._operations[operation], arguments)

    def _answer(self, work: Callable[..., Any], arguments: list[Any]) -> None:
        try:
            answer = wire.dumps([True, work(*arguments)], self._keep)
        except (KeyboardInterrupt, Exception, SystemExit) as error:
            answer = wire.dumps([False, _told(error)])
        send(self._peer, answer)

    def _run(self, code: str) -> None:
        module = type(sys)("solution")
        module.__dict__.update(self._names)
        sys.modules["solution"] = module
        self._names = module.__dict__
        exec(compile(code, "<solution>", "exec"), self._names)

    def _call(self, target: Any, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        return self._object(target)(*arguments, **keywords)

    def _evaluate(self, expression: str) -> Any:
        return eval(compile(expression.strip(), "<answer>", "eval"), self._names)

    def _length(self, target: Any) -> int | None:
        """`list` asks for a length first, also where there is none."""
        found = self._object(target)
        return len(found) if hasattr(type(found), "__len__") else None

    def _object(self, target: Any) -> Any:
        return self._names[target] if isinstance(target, str) else target

    def _keep(self, value: Any) -> dict[str, Any]:
        self._kept.append(value)
        return {"r": [len(self._kept) - 1, type(value).__name__]}

    def _made(self, number: int, kind: str) -> Any:
        return self._kept[number]


def _told(error: BaseException) -> list[str]:
    kind = next(
        (c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins"), "Exception"
    )
    try:
        text = str(error)
    except BaseException:
        text = "?"
    return [kind, text[:500]]
