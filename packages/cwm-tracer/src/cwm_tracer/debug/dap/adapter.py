"""The debug adapter: requests of a client become verbs of a session.

https://microsoft.github.io/debug-adapter-protocol/specification
"""

from __future__ import annotations

from collections.abc import Awaitable

from cwm_tracer.debug.config import DebugConfig
from cwm_tracer.debug.dap.conversation import Body, RefusedError
from cwm_tracer.debug.dap.looking import Looking
from cwm_tracer.debug.dap.moving import Moving
from cwm_tracer.debug.dap.stopping import Stopping
from cwm_tracer.debug.heap import settle
from cwm_tracer.debug.opening import Subject, open_story
from cwm_tracer.debug.session import Session

CAPABILITIES: Body = {
    "supportsConfigurationDoneRequest": True,
    "supportsConditionalBreakpoints": True,
    "supportsHitConditionalBreakpoints": True,
    "supportsLogPoints": True,
    "supportsFunctionBreakpoints": True,
    "supportsDataBreakpoints": True,
    "supportsStepBack": True,
    "supportsSteppingGranularity": True,
    "supportsRestartRequest": True,
    "supportsGotoTargetsRequest": True,
    "supportsSetVariable": True,
    "supportsSetExpression": True,
    "supportsEvaluateForHovers": True,
    "supportsClipboardContext": True,
    "supportsExceptionInfoRequest": True,
    "supportsLoadedSourcesRequest": True,
    "supportsBreakpointLocationsRequest": True,
    "supportsDelayedStackTraceLoading": True,
    "supportsTerminateRequest": True,
    "supportTerminateDebuggee": True,
    "exceptionBreakpointFilters": [
        {"filter": "raised", "label": "Raised exceptions", "default": False},
        {
            "filter": "divergence",
            "label": "Prediction differs from execution",
            "description": "Asks the model at every event: slow in long executions.",
            "default": False,
        },
    ],
}


class Adapter(Stopping, Looking, Moving):
    """Serves one client over one stream, from its first request to its last."""

    async def _on_initialize(self, arguments: Body) -> Body:
        self._first_line = 1 if arguments.get("linesStartAt1", True) else 0
        return CAPABILITIES

    async def _on_launch(self, arguments: Body) -> tuple[Body, Awaitable[None]]:
        config, subject = self._wanted(arguments)
        if self._opened is not None:
            raise RefusedError("there is a session already", "disconnect first")
        self._opened = await open_story(config, subject)
        self._session = Session(self._opened.story, self._log_point)
        self._stop_on_entry = bool(arguments.get("stopOnEntry", True))
        settle()
        return {}, self._event("initialized")

    _on_attach = _on_launch

    def _wanted(self, arguments: Body) -> tuple[DebugConfig, Subject]:
        """Read launch arguments: `program`, `input`, `traceId`, `mode`, `overrides`."""
        program = arguments.get("program")
        if not program:
            if self._default is None:
                raise RefusedError(
                    "the launch configuration names no program",
                    '"program": "FILE.py:function", or trace shards and "traceId"',
                )
            return self._default
        if function := arguments.get("function"):
            program = f"{program}:{function}"
        overrides = [str(each) for each in arguments.get("overrides", ())]
        if mode := arguments.get("mode"):
            overrides.append(f"mode={mode}")
        subject = Subject(
            str(program), str(arguments.get("input", "")), str(arguments.get("traceId", ""))
        )
        return self._configure(overrides), subject

    async def _on_configuration_done(self, _: Body) -> tuple[Body, Awaitable[None]]:
        session = self._live()
        if self._stop_on_entry:
            return {}, self._stopped(session.restart())
        return {}, self._start(session.continue_)

    async def _on_restart(self, _: Body) -> tuple[Body, Awaitable[None]]:
        await self._idle()
        return {}, self._stopped(self._live().restart())

    async def _on_disconnect(self, _: Body) -> tuple[Body, Awaitable[None]]:
        self._ended = True
        return {}, self._event("terminated")

    _on_terminate = _on_disconnect
