"""The grammar of the wire format; strict or lenient by what is done with a deviation."""

from __future__ import annotations

from collections.abc import Iterable

from cwm_core.errors import CodecError
from cwm_core.text import special_tokens as st
from cwm_core.trace.diff import UNCHANGED, DiffDecoder
from cwm_core.trace.frames import Event, Frame
from cwm_core.trace.json_text import read_object, read_string
from cwm_core.trace.lexer import Report, Segment, Wire
from cwm_core.trace.pieces import EVENT_TOKENS

_EVENTS = {token: event for event, token in EVENT_TOKENS.items()}
_EVENT_NAMES = ", ".join(_EVENTS)
_VALUE_EVENTS = (Event.RETURN, Event.EXCEPTION)


class Reader:
    """Reads a trace from the segments of a wire.

    `diff` says how locals must be coded: True as the encoder codes them, False not at all, None
    either way. `before` are the frames that precede what is read.
    """

    def __init__(
        self, wire: Wire, report: Report, *, diff: bool | None, before: Iterable[Frame] = ()
    ) -> None:
        self._wire = wire
        self._report = report
        self._diff = diff
        self._decoder = DiffDecoder(before)
        self._next = 0

    # Access to segments

    def _peek(self) -> Segment:
        """Return the segment to read next; past the end, one without text."""
        if self._next < len(self._wire.segments):
            return self._wire.segments[self._next]
        end = self._wire.end
        return Segment("", None, end, end, lambda index: end)

    @property
    def at_end(self) -> bool:
        """Whether everything is read."""
        return self._next >= len(self._wire.segments)

    def _wrong(self, expected: str) -> CodecError:
        segment = self._peek()
        found = "the end" if self.at_end else segment.special or "text"
        return CodecError(f"{found} is out of place", offset=segment.offset, expected=expected)

    def _expect(self, special: str) -> None:
        if self._peek().special != special:
            raise self._wrong(special)
        self._next += 1

    def _text(self) -> Segment:
        """Read plain text; where there is none, a segment without text."""
        segment = self._peek()
        if segment.special is None and not self.at_end:
            self._next += 1
            return segment
        offset = segment.offset
        return Segment("", None, offset, offset, lambda index: offset)

    def _skip_frame(self) -> None:
        """Go past the next frame separator, or up to the end of the trace."""
        while not self.at_end and self._peek().special != st.END_OF_TEXT:
            self._next += 1
            if self._wire.segments[self._next - 1].special == st.FRAME_SEP:
                return

    # Grammar

    @property
    def has_context(self) -> bool:
        """Whether the input starts as a whole trace does, not as a continuation."""
        return self._peek().special in (st.BEGIN_OF_TEXT, st.TRACE_CONTEXT_START)

    def context(self) -> str:
        """Read the start of a trace through the separator after the context."""
        text = ""
        try:
            self._expect(st.BEGIN_OF_TEXT)
        except CodecError as error:
            self._report(error)
        try:
            self._expect(st.TRACE_CONTEXT_START)
            text = self._text().text
            self._expect(st.FRAME_SEP)
        except CodecError as error:
            self._report(error)
            self._skip_frame()
        return text

    def frames(self, *, first: bool) -> list[Frame]:
        """Read frames up to the end of the trace or input; `first` demands a call frame first."""
        found: list[Frame] = []
        while not self.at_end and self._peek().special != st.END_OF_TEXT:
            if first and self._peek().special != st.CALL_SEP:
                self._report(self._wrong(st.CALL_SEP))
            first = False
            frame = self._frame()
            if frame is not None:
                found.append(frame)
        return found

    def end(self, *, empty: bool) -> bool:
        """Read the end token, if any; return whether there is one. `empty`: no frame precedes."""
        if self.at_end:
            return False
        if empty:
            self._report(self._wrong(st.CALL_SEP))
        self._next += 1
        if not self.at_end:
            self._report(self._wrong("nothing after the end of the trace"))
        return True

    def _frame(self) -> Frame | None:
        event = _EVENTS.get(self._peek().special or "")
        if event is None:
            self._report(self._wrong(f"one of {_EVENT_NAMES} or {st.END_OF_TEXT}"))
            self._skip_frame()
            return None
        self._next += 1
        has_value = event in _VALUE_EVENTS
        values: dict[str, str] = {}
        source, value = "", ""
        try:
            if not has_value:
                values = self._locals(event, self._text())
            self._decoder.step(event, values)
            self._expect(st.ACTION_SEP)
            source = self._source(self._text())
            if has_value:
                self._expect(st.ARG_SEP)
                value = read_string(self._text(), self._wire, self._report)
            self._expect(st.FRAME_SEP)
        except CodecError as error:
            self._report(error)
            self._skip_frame()
        return Frame(event, source, None if has_value else values, value if has_value else None)

    def _locals(self, event: Event, segment: Segment) -> dict[str, str]:
        values = {}
        for name, (text, index) in read_object(segment, self._wire, self._report).items():
            values[name] = self._resolve(event, name, text, segment, index)
        return values

    def _resolve(self, event: Event, name: str, text: str, segment: Segment, index: int) -> str:
        def report(message: str, expected: str) -> None:
            self._report(CodecError(message, offset=segment.locate(index), expected=expected))

        usual = self._decoder.last(event, name)
        if text != UNCHANGED:
            if self._diff and text == usual:
                report(f"the unchanged local {name!r} is spelled out", "'..' for it")
            return text
        if self._diff is False:
            report(f"the local {name!r} is diff-coded", "its text")
        known = self._decoder.resolve(event, name)
        if known is None:
            report(f"the local {name!r} is '..' but no frame before tells its text", "its text")
        elif self._diff and usual is None:
            report(f"the local {name!r} is '..' but not in the frame before", "its text")
        return UNCHANGED if known is None else known

    def _source(self, segment: Segment) -> str:
        text = segment.text
        index = text.find("\n")
        if index == -1:
            where = segment.locate(len(text)) if text else segment.offset
            self._report(
                CodecError("an unfinished source line", offset=where, expected="a newline")
            )
        elif index != len(text) - 1:
            self._report(
                CodecError(
                    "a second source line", offset=segment.locate(index + 1), expected="one line"
                )
            )
        return text
