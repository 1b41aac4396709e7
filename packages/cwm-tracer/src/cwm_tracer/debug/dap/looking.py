"""Requests about what there is to see where the session stands."""

from __future__ import annotations

from cwm_core.trace.frames import Event
from cwm_tracer.debug.dap.conversation import Body, Conversation, RefusedError
from cwm_tracer.debug.dap.variables import differing, probability, shortened
from cwm_tracer.debug.session import Why
from cwm_tracer.debug.story import DebugError

THREAD = 1
"""The number of the one thread that a story has."""
_MOST_IN_NAME = 80
"""Characters of a returned value in the name of a stack frame."""


class Looking(Conversation):
    """Shows the stack, scopes, variables and sources, and changes variables."""

    async def _on_threads(self, _: Body) -> Body:
        opened = self._there()
        return {"threads": [{"id": THREAD, "name": f"{opened.title}, {opened.story.mode}"}]}

    async def _on_stack_trace(self, arguments: Body) -> Body:
        session = self._live()
        timeline, source = session.story.timeline, self._source()
        first = int(arguments.get("startFrame") or 0)
        most = int(arguments.get("levels") or 0) or None
        frames = [
            {
                "id": entry.index + 1,
                "name": self._frame_name(entry.index, entry.function),
                "line": max(0, entry.line - 1 + self._first_line),
                "column": self._first_line,
                "source": source,
            }
            for entry in timeline.stack(session.cursor, first, most)
        ]
        return {"stackFrames": frames, "totalFrames": timeline.height(session.cursor)}

    def _frame_name(self, index: int, function: str) -> str:
        """Say of the event that is looked at, which is no line, what it is."""
        session = self._live()
        frame = session.story.timeline.frames[index]
        if index != session.cursor or frame.event is Event.LINE:
            return function
        if frame.event is Event.CALL:
            return f"{function} (call)"
        return f"{function} ({frame.event} {shortened(frame.value or '', _MOST_IN_NAME)})"

    async def _on_scopes(self, arguments: Body) -> Body:
        session = self._live()
        index = self._event_of(arguments)
        references = self._references
        shown = references.add(lambda: references.locals(session.state(index)))
        if session.story.has_model and index == session.cursor:
            references.editable[shown] = index
        scopes = [_scope("Locals", shown, "locals")]
        frame = session.story.timeline.frames[index]
        if frame.value is not None:
            value = frame.value
            name = "raised" if frame.event is Event.EXCEPTION else "returned"
            result = references.add(lambda: [references.variable(f"({name})", value)])
            scopes.append(_scope("Result", result, "returnValue"))
        made = await session.story.prediction(index)
        if made is not None:
            number = references.add(lambda: references.predicted(made))
            scopes.append(_scope("Predicted", number))
        found = await session.story.differences(index)
        if found:
            scopes.insert(1, _scope("Differences", references.add(lambda: differing(found))))
        return {"scopes": scopes}

    async def _on_variables(self, arguments: Body) -> Body:
        number = int(arguments["variablesReference"])
        found = self._references.listed(number)
        if found is None:
            raise RefusedError(
                f"variables {number} are of an earlier stop", "ask for the scopes again"
            )
        start, count = int(arguments.get("start") or 0), int(arguments.get("count") or 0)
        return {"variables": found[start : start + count if count else None]}

    async def _on_set_variable(self, arguments: Body) -> Body:
        if int(arguments["variablesReference"]) not in self._references.editable:
            if not self._live().story.has_model:
                raise DebugError(
                    "a recorded execution cannot be changed",
                    "with a model it can be predicted on: engine=local engine.checkpoint=DIR",
                )
            raise DebugError("this cannot be set", "set locals of the function on top")
        return await self._set(str(arguments["name"]), str(arguments["value"]))

    async def _on_set_expression(self, arguments: Body) -> Body:
        return await self._set(str(arguments["expression"]).strip(), str(arguments["value"]))

    async def _set(self, name: str, value: str) -> Body:
        await self._idle()
        session = self._live()
        text = session.evaluate(value)
        await session.set_variable(name, text)
        return {"value": shortened(text), "variablesReference": self._references.of_text(text)}

    async def _on_evaluate(self, arguments: Body) -> Body:
        text = self._live().evaluate(str(arguments["expression"]), self._event_of(arguments))
        whole = arguments.get("context") in ("repl", "clipboard")
        shown = text if whole else shortened(text)
        answer: Body = {"result": shown, "variablesReference": self._references.of_text(text)}
        made = self._live().story.known_prediction(self._event_of(arguments))
        if made is not None:
            sure = made.confidence.values.get(str(arguments["expression"]).strip())
            answer["type"] = probability(sure)
        return answer

    async def _on_exception_info(self, _: Body) -> Body:
        session = self._live()
        if session.last.why is Why.DIVERGENCE:
            return {
                "exceptionId": "divergence",
                "description": session.last.text,
                "breakMode": "always",
            }
        text = session.frame.value or ""
        return {
            "exceptionId": text.partition("(")[0] or "exception",
            "description": text,
            "breakMode": "always",
        }

    async def _on_source(self, _: Body) -> Body:
        return {"content": self._live().story.timeline.source.text, "mimeType": "text/x-python"}

    async def _on_loaded_sources(self, _: Body) -> Body:
        return {"sources": [self._source()]}


def _scope(name: str, reference: int, hint: str | None = None) -> Body:
    scope: Body = {"name": name, "variablesReference": reference, "expensive": False}
    return scope if hint is None else {**scope, "presentationHint": hint}
