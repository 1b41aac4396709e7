"""Requests that move the session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from cwm_core.errors import CwmError
from cwm_tracer.debug.dap.conversation import Body, Conversation
from cwm_tracer.debug.dap.looking import THREAD
from cwm_tracer.debug.session import Stop, Why

log = logging.getLogger(__name__)

_REASONS = {
    Why.ENTRY: "entry",
    Why.BREAKPOINT: "breakpoint",
    Why.FUNCTION_BREAKPOINT: "function breakpoint",
    Why.DATA_BREAKPOINT: "data breakpoint",
    Why.EXCEPTION: "exception",
    Why.DIVERGENCE: "exception",
    Why.GOTO: "goto",
    Why.PAUSE: "pause",
}


class Moving(Conversation):
    """Starts verbs and tells the client where they end."""

    async def _on_next(self, _: Body) -> tuple[Body, Awaitable[None]]:
        return {}, self._start(self._live().step_over)

    async def _on_step_in(self, _: Body) -> tuple[Body, Awaitable[None]]:
        return {}, self._start(self._live().step_in)

    async def _on_step_out(self, _: Body) -> tuple[Body, Awaitable[None]]:
        return {}, self._start(self._live().step_out)

    async def _on_step_back(self, arguments: Body) -> tuple[Body, Awaitable[None]]:
        session = self._live()
        fine = arguments.get("granularity") == "instruction"
        return {}, self._start(session.step_back if fine else session.step_back_over)

    async def _on_continue(self, _: Body) -> tuple[Body, Awaitable[None]]:
        return {"allThreadsContinued": True}, self._start(self._live().continue_)

    async def _on_reverse_continue(self, _: Body) -> tuple[Body, Awaitable[None]]:
        return {}, self._start(self._live().reverse_continue)

    async def _on_pause(self, _: Body) -> Body:
        self._live().pause()
        return {}

    async def _on_goto_targets(self, arguments: Body) -> Body:
        line = int(arguments["line"]) + 1 - self._first_line
        if line not in self._live().story.timeline.source.executable:
            return {"targets": []}
        return {"targets": [{"id": line, "label": f"line {line}", "line": int(arguments["line"])}]}

    async def _on_goto(self, arguments: Body) -> tuple[Body, Awaitable[None]]:
        line = int(arguments["targetId"])
        return {}, self._start(lambda: self._live().run_to(line))

    async def _start(self, verb: Callable[[], Awaitable[Stop]]) -> None:
        """Let a verb work while requests are answered; its stop becomes an event."""
        if self._running is not None and not self._running.done():
            await self._running
        self._running = asyncio.create_task(self._run(verb))
        await asyncio.sleep(0)  # it has begun: a pause that comes next is for it

    async def _run(self, verb: Callable[[], Awaitable[Stop]]) -> None:
        try:
            stop = await verb()
        except CwmError as error:
            await self._say(f"{error.message}. {error.hint or ''}", "important")
            stop = Stop(self._live().cursor, Why.PAUSE, error.message)
        except Exception as error:  # a client that hears of no stop waits for ever
            log.exception("a step failed")
            await self._say(f"the debugger failed: {error!r}", "important")
            stop = Stop(self._live().cursor, Why.PAUSE, repr(error))
        await self._stopped(stop)

    async def _stopped(self, stop: Stop) -> None:
        self._references.clear()
        self._tell_logged()
        body: Body = {
            "reason": _REASONS.get(stop.why, "step"),
            "threadId": THREAD,
            "allThreadsStopped": True,
        }
        if stop.why in (Why.START, Why.END):
            body["description"] = f"The {stop.why} of the execution"
            await self._say(f"{body['description']}{f': {stop.text}' if stop.text else ''}")
        elif stop.why is Why.DIVERGENCE:
            body |= {"description": "Prediction differs from execution", "text": stop.text}
            await self._say(f"line {self._live().line}: {stop.text}", "important")
        elif stop.text:
            body["text"] = stop.text
        await self._event("stopped", body)
