"""The trusted side: runs the tests in a process that never sees the solution's code.

Tests are ordinary Python. The names that a solution has to define are proxies: a call goes to the
guest, and what comes back is built of exact builtin types (`wire`) before anything is compared. A
verdict says that the tests ran to their end, that at least one answer was looked at, and that the
guest was alive throughout.
"""

from __future__ import annotations

import builtins
import os
import random
import socket
from typing import Any, NoReturn

from . import wire
from .channel import ClosedError, receive, send
from .oracles import ORACLES


class GuestError(Exception):
    """The solution raised something that tests must not see as it is."""


class _Gone(BaseException):
    """The guest is gone: no handler of a test may go on."""


def main(fds: list[int]) -> None:
    """Judge one solution after the other; each job comes with its connection to the guest.

    Only trusted code runs here, so jobs share a process. The grading process ends it when a job
    takes too long.
    """
    control = socket.socket(fileno=fds[0])
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    while True:
        started, peers, _, _ = socket.recv_fds(control, 1, 1)
        if not started:
            return
        random.seed(0)
        with socket.socket(fileno=peers[0]) as peer:
            send(control, wire.dumps(Judge(peer).verdict(wire.loads(receive(control)))))


class Judge:
    """Asks a guest and keeps count of what it answered."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self.answers = 0
        self.raised = 0
        self.objects = 0
        """How often a test took an object of the solution for a value."""
        self.gone = False

    def verdict(self, job: dict[str, Any]) -> dict[str, Any]:
        """Run the tests of a job and tell how that ended."""
        try:
            self._receive()
            names = self._namespace(job)
            exec(compile(job["reference"], "<reference>", "exec"), names)
            names.update(self._proxies(job))
            exec(compile(job["tests"], "<tests>", "exec"), names)
        except _Gone as error:
            return self._told("died", str(error))
        except GuestError as error:
            return self._told("exception", str(error))
        except AssertionError as error:
            return self._told("exception" if self.raised else "wrong_answer", str(error))
        except wire.WireError as error:
            return self._told("no_value", str(error))
        except BaseException as error:
            kind = "exception" if self.raised else "test_error"
            return self._told(kind, f"{type(error).__name__}: {error}")
        if self.gone:
            return self._told("died", "the solution ended before the tests did")
        if self.raised and not job["may_raise"]:
            return self._told("exception", "the solution raised, and a test went on")
        if self.objects:
            return self._told("no_value", "a test took an object for a value, and went on")
        if not self.answers and not self.raised:
            return self._told("test_error", "the tests never asked the solution")
        return {**self._told("passed", ""), "value": names.get("result")}

    def _told(self, outcome: str, detail: str) -> dict[str, Any]:
        return {"outcome": outcome, "detail": detail[:500], "answers": self.answers}

    def _namespace(self, job: dict[str, Any]) -> dict[str, Any]:
        return {"__name__": "tests", "__builtins__": builtins, "data": job["data"], **ORACLES}

    def _proxies(self, job: dict[str, Any]) -> dict[str, Any]:
        names: dict[str, Any] = {name: Proxy(self, name) for name in job["names"]}
        if job["entry"]:
            names["candidate"] = Proxy(self, job["entry"])
        names["evaluate"] = self.evaluate
        return names

    def evaluate(self, expression: str) -> Any:
        """Return what an expression is in the solution's namespace."""
        return self.ask("evaluate", expression)

    def ask(self, operation: str, *arguments: Any) -> Any:
        """Ask the guest something; raises what it raised, as an exact builtin exception."""
        if self.gone:
            raise _Gone("the solution is gone")
        request = wire.dumps([operation, list(arguments)], _reference)
        try:
            send(self._peer, request)
            value = self._receive()
        except ClosedError as error:
            self.gone = True
            raise _Gone(f"the solution ended: {error}") from None
        self.answers += 1
        return value

    def _receive(self) -> Any:
        """Read an answer of the guest, who may send anything."""
        try:
            answer = wire.loads(receive(self._peer), lambda n, kind: Proxy(self, n, kind))
        except ClosedError as error:
            self.gone = True
            raise _Gone(f"the solution ended: {error}") from None
        match answer:
            case [True, value]:
                return value
            case [False, [str(kind), str(text)]]:
                self.raised += 1
                raise _exception(kind, text)
        raise wire.WireError("the solution's process sent no answer")


_STOPS = (StopIteration, StopAsyncIteration, GeneratorExit, AssertionError, Warning)
"""Exceptions that would end a test's loop, or pass for the test's own."""


def _exception(kind: str, text: str) -> BaseException:
    found = getattr(builtins, kind, None)
    if not isinstance(found, type) or not issubclass(found, Exception) or issubclass(found, _STOPS):
        return GuestError(f"{kind}: {text}")
    try:
        return found(text)
    except Exception:
        return GuestError(f"{kind}: {text}")


def _reference(value: Any) -> dict[str, Any]:
    if isinstance(value, Proxy):
        target = object.__getattribute__(value, "_target")
        if isinstance(target, int):
            return {"r": [target, "object"]}
    raise wire.WireError(f"a {type(value).__name__} cannot be given to a solution")


class Proxy:
    """A name or an object of the solution; what one does with it happens there.

    It is no value: comparing it or asking for its truth raises, so no test passes on it.
    """

    __slots__ = ("_judge", "_kind", "_target")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, judge: Judge, target: str | int, kind: str = "function") -> None:
        object.__setattr__(self, "_judge", judge)
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_kind", kind)

    def _ask(self, operation: str, *arguments: Any) -> Any:
        judge: Judge = object.__getattribute__(self, "_judge")
        target = object.__getattribute__(self, "_target")
        return judge.ask(operation, target if isinstance(target, str) else self, *arguments)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call it over there."""
        return Proxy._ask(self, "call", list(arguments), keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return Proxy._ask(self, "get", name)

    def __setattr__(self, name: str, value: Any) -> None:
        Proxy._ask(self, "set", name, value)

    def __getitem__(self, key: Any) -> Any:
        return Proxy._ask(self, "item", key)

    def __iter__(self) -> Any:
        items = Proxy._ask(self, "list")
        if type(items) is not list:
            raise wire.WireError("the items of an object are no list")
        return iter(items)

    def __len__(self) -> int:
        size = Proxy._ask(self, "length")
        if type(size) is not int:
            raise TypeError("an object without a length")
        return size

    def _no_value(self, *others: Any) -> NoReturn:
        judge: Judge = object.__getattribute__(self, "_judge")
        judge.objects += 1
        raise wire.WireError(f"a {object.__getattribute__(self, '_kind')} is no plain value")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = _no_value
    __int__ = __float__ = __index__ = __str__ = __repr__ = __add__ = __radd__ = _no_value
