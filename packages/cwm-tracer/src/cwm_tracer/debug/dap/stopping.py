"""Requests about breakpoints."""

from __future__ import annotations

from typing import TypeVar

from cwm_core.errors import CwmError
from cwm_tracer.debug.breakpoints import Breakpoint
from cwm_tracer.debug.dap.conversation import Body, Conversation

Key = TypeVar("Key", int, str)
_CONDITIONS = ("condition", "hitCondition", "logMessage")


class Stopping(Conversation):
    """Sets what ends a `continue`."""

    async def _on_set_breakpoints(self, arguments: Body) -> Body:
        session = self._live()
        ours = self._is_ours(arguments.get("source", {}))
        points: dict[int, Breakpoint] = {}
        answers = []
        for wanted in arguments.get("breakpoints", ()):
            line = int(wanted["line"]) + 1 - self._first_line
            answer, actual = self._place(line) if ours else (_unverified("another program"), 0)
            if actual:
                answer |= _into(points, actual, wanted, line=actual)
            answers.append(answer)
        if ours:
            session.stops.lines = points
        return {"breakpoints": answers}

    def _place(self, line: int) -> tuple[Body, int]:
        """Move a breakpoint to a line that can have events."""
        source = self._live().story.timeline.source
        later = [each for each in source.executable if each >= line]
        if not later:
            return _unverified("no code here"), 0
        shown = later[0] - 1 + self._first_line
        return {"verified": True, "line": shown, "source": self._source()}, later[0]

    async def _on_breakpoint_locations(self, arguments: Body) -> Body:
        first = int(arguments["line"]) + 1 - self._first_line
        last = int(arguments.get("endLine") or arguments["line"]) + 1 - self._first_line
        lines = self._live().story.timeline.source.executable
        found = [each for each in lines if first <= each <= last]
        return {"breakpoints": [{"line": each - 1 + self._first_line} for each in found]}

    async def _on_set_function_breakpoints(self, arguments: Body) -> Body:
        points: dict[str, Breakpoint] = {}
        wanted = arguments.get("breakpoints", ())
        answers = [_into(points, each["name"], each, function=each["name"]) for each in wanted]
        self._live().stops.functions = points
        return {"breakpoints": answers}

    async def _on_set_exception_breakpoints(self, arguments: Body) -> Body:
        session = self._live()
        filters = arguments.get("filters", ())
        session.stops.exceptions = "raised" in filters
        session.stops.divergences = "divergence" in filters and session.story.has_model
        answers: list[Body] = []
        for each in filters:
            usable = each == "raised" or (each == "divergence" and session.story.has_model)
            answers.append({"verified": True} if usable else _unverified("there is no model"))
        return {"breakpoints": answers}

    async def _on_data_breakpoint_info(self, arguments: Body) -> Body:
        name = arguments["name"]
        if name not in self._live().state(self._event_of(arguments)):
            return {"dataId": None, "description": f"{name} is no local here"}
        return {
            "dataId": name,
            "description": f"stop when {name} changes",
            "accessTypes": ["write"],
            "canPersist": True,
        }

    async def _on_set_data_breakpoints(self, arguments: Body) -> Body:
        wanted = arguments.get("breakpoints", ())
        self._live().stops.watched = {each["dataId"] for each in wanted}
        return {"breakpoints": [{"verified": True} for _ in wanted]}


def _into(
    points: dict[Key, Breakpoint], key: Key, wanted: Body, *, line: int = 0, function: str = ""
) -> Body:
    """Add a breakpoint; return what there is to say of it, such as that its condition is none."""
    condition, hits, message = (str(wanted.get(name) or "") for name in _CONDITIONS)
    try:
        points[key] = Breakpoint(line, function, condition, hits, message)
    except CwmError as error:
        return _unverified(f"{error.message}: {error.hint}" if error.hint else error.message)
    return {"verified": True}


def _unverified(why: str) -> Body:
    return {"verified": False, "message": why}
