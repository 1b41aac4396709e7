"""One client: its messages in and out, and what it debugs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from cwm_core.errors import CwmError
from cwm_tracer.debug.config import DebugConfig
from cwm_tracer.debug.dap.variables import References
from cwm_tracer.debug.dap.wire import ProtocolError, Writer, encode, read_message
from cwm_tracer.debug.heap import settle
from cwm_tracer.debug.opening import Opened, Subject
from cwm_tracer.debug.session import Session

log = logging.getLogger(__name__)

Body = dict[str, Any]
Configure = Callable[[list[str]], DebugConfig]
"""Makes a configuration of overrides such as ``engine=local``."""


class RefusedError(CwmError):
    """A request that is answered with an error."""


class Conversation:
    """Reads requests and answers each by the method that is named like it.

    ``stepIn`` is `_on_step_in(arguments)`. It returns the body of the response, or that and what to
    do once the response is sent.
    """

    def __init__(
        self, configure: Configure, writer: Writer, default: tuple[DebugConfig, Subject] | None
    ) -> None:
        """`default` is what is debugged where the client's launch does not say."""
        self._configure = configure
        self._writer = writer
        self._default = default
        self._sequence = 0
        self._opened: Opened | None = None
        self._session: Session | None = None
        self._references = References()
        self._logged: list[str] = []
        self._stop_on_entry = True
        self._running: asyncio.Task[None] | None = None
        self._ended = False
        self._first_line = 1

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Answer requests until the client leaves."""
        try:
            while not self._ended and (message := await read_message(reader)) is not None:
                if message.get("type") == "request":
                    await self._answer(message)
        except ProtocolError as error:
            await self._event("output", {"category": "important", "output": f"{error.message}\n"})
        except ConnectionError:
            pass
        finally:
            await self._close()

    async def _close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
        opened, self._opened, self._session = self._opened, None, None
        if opened is not None:
            await opened.close()
            del opened
            settle()

    async def _send(self, message: Body) -> None:
        self._sequence += 1
        self._writer.write(encode({"seq": self._sequence, **message}))
        await self._writer.drain()

    async def _event(self, name: str, body: Body | None = None) -> None:
        await self._send({"type": "event", "event": name, "body": body or {}})

    async def _say(self, text: str, category: str = "console") -> None:
        await self._event("output", {"category": category, "output": f"{text}\n"})

    async def _answer(self, request: Body) -> None:
        """Answer one request; whatever goes wrong becomes an error response."""
        command = str(request.get("command", ""))
        arguments = request.get("arguments") or {}
        handler = getattr(self, f"_on_{_snake(command)}", None)
        reply: Body = {"type": "response", "request_seq": request.get("seq", 0)}
        reply |= {"command": command, "success": True}
        after: Awaitable[None] | None = None
        try:
            if handler is None:
                raise RefusedError(f"the request {command!r} is not supported")
            if not isinstance(arguments, dict):
                raise RefusedError("the arguments are no object")
            result = await handler(arguments)
            if isinstance(result, tuple):
                result, after = result
            if result:
                reply["body"] = result
        except CwmError as error:
            reply |= _failure(error)
        except (KeyError, TypeError, ValueError) as error:
            reply |= _failure(RefusedError(f"{command}: unusable arguments: {error!r}"))
        except Exception as error:
            log.exception("the request %s failed", command)
            reply |= _failure(RefusedError(f"{command} failed: {error!r}"))
        await self._send(reply)
        if after is not None:
            await after

    # What is being debugged

    def _there(self) -> Opened:
        if self._opened is None:
            raise RefusedError("nothing is being debugged", "send launch first")
        return self._opened

    def _live(self) -> Session:
        self._there()
        assert self._session is not None
        return self._session

    async def _idle(self) -> None:
        """Pause the verb that is under way, if there is one."""
        if self._running is not None and not self._running.done():
            self._live().pause()
            await self._running

    def _event_of(self, arguments: Body) -> int:
        """Return the event of the stack frame that a request is about."""
        session = self._live()
        number = arguments.get("frameId")
        index = session.cursor if number is None else int(number) - 1
        if not 0 <= index < len(session.story.timeline):
            raise RefusedError(f"there is no stack frame {number}", "ask for the stack again")
        return index

    def _source(self) -> Body:
        opened = self._there()
        if opened.path is not None:
            return {"name": opened.path.name, "path": str(opened.path)}
        return {"name": f"{opened.record.entry}.py", "sourceReference": 1}

    def _is_ours(self, source: Body) -> bool:
        path = self._there().path
        if path is None or not source.get("path"):
            return path is None or bool(source.get("sourceReference"))
        return Path(source["path"]).resolve() == path.resolve()

    def _log_point(self, text: str) -> None:
        """Say what a log point says: soon, and together with others."""
        if not self._logged:
            asyncio.get_running_loop().call_soon(self._tell_logged)
        self._logged.append(text)

    def _tell_logged(self) -> None:
        if not self._logged:
            return
        text = "".join(f"{each}\n" for each in self._logged)
        self._logged.clear()
        self._sequence += 1
        body = {"category": "console", "output": text}
        message = {"seq": self._sequence, "type": "event", "event": "output", "body": body}
        self._writer.write(encode(message))


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)


def _failure(error: CwmError) -> Body:
    text = f"{error.message}: {error.hint}" if error.hint else error.message
    shown = {"id": 1, "format": text.replace("{", "(").replace("}", ")"), "showUser": True}
    return {"success": False, "message": text, "body": {"error": shown}}
