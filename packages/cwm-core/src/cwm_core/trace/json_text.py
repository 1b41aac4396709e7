"""The JSON of LOCALS and VALUE: objects of strings and strings, exactly as `json.dumps` writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]  # missing in typeshed

from cwm_core.errors import CodecError
from cwm_core.trace.lexer import Report, Segment, Wire


def _error(segment: Segment, index: int, message: str, expected: str) -> CodecError:
    return CodecError(message, offset=segment.locate(index), expected=expected)


def _is_unicode(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class JsonScanner:
    """Reads JSON strings of one segment from left to right; raises `CodecError` where it cannot."""

    def __init__(self, segment: Segment, quote: Callable[[str], str], report: Report) -> None:
        self.segment = segment
        self.position = 0
        self._quote = quote
        self._report = report

    def fail(self, message: str, expected: str) -> CodecError:
        """Return an error at the current position."""
        return _error(self.segment, self.position, message, expected)

    def take(self, literal: str) -> bool:
        """Go past `literal` if the text goes on with it."""
        if not self.segment.text.startswith(literal, self.position):
            return False
        self.position += len(literal)
        return True

    def string(self, what: str) -> str:
        """Read a JSON string; reports an unusual spelling of it."""
        start = self.position
        text = self.segment.text
        if not text.startswith('"', start):
            raise self.fail(f"no string for {what}", "a JSON string")
        try:
            value, self.position = scanstring(text, start + 1, True)
        except ValueError as error:
            at = getattr(error, "pos", start)
            message = f"a broken string for {what}"
            raise _error(self.segment, at, message, "a JSON string") from None
        if not _is_unicode(value):
            self._report(_error(self.segment, start, f"a lone surrogate in {what}", "Unicode text"))
        elif text[start : self.position] != self._quote(value):
            self._report(
                _error(self.segment, start, f"an unusual spelling of {what}", self._quote(value))
            )
        return value

    def end(self) -> None:
        """Raise `CodecError` unless the text is used up."""
        if self.position != len(self.segment.text):
            raise self.fail("text after the JSON", "nothing more")

    def entries(self) -> Iterator[tuple[int, str, str]]:
        """Yield (index into the text, name, value) of an object; raises `CodecError`."""
        if not self.take("{"):
            raise self.fail("no locals", "a JSON object")
        if not self.take("}"):
            yield self._entry()
            while self.take(", "):
                yield self._entry()
            if not self.take("}"):
                raise self.fail("an unfinished object", "', ' or '}'")
        self.end()

    def _entry(self) -> tuple[int, str, str]:
        start = self.position
        name = self.string("the name of a local")
        if not self.take(": "):
            raise self.fail("no separator", "': '")
        return start, name, self.string(f"the text of local {name!r}")


def _salvage_object(text: str) -> dict[str, str] | None:
    """Read text values of any JSON object, however it is spaced."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return {name: value for name, value in found.items() if isinstance(value, str)}


def read_object(segment: Segment, wire: Wire, report: Report) -> dict[str, tuple[str, int]]:
    """Return the (text, index into the segment) of each local.

    Whatever deviates is reported; what can be read of it is returned, if `report` returns.
    """
    scanner = JsonScanner(segment, wire.quote, report)
    found: dict[str, tuple[str, int]] = {}
    try:
        for index, name, value in scanner.entries():
            if name in found:
                report(_error(segment, index, f"local {name!r} twice", "each local once"))
            found[name] = (value, index)
    except CodecError as error:
        report(error)
        salvaged = _salvage_object(segment.text)
        if salvaged is not None:
            return {name: (value, 0) for name, value in salvaged.items()}
    return found


def read_string(segment: Segment, wire: Wire, report: Report) -> str:
    """Return the value of a return or exception frame; deviations are reported."""
    scanner = JsonScanner(segment, wire.quote, report)
    try:
        value = scanner.string("the value")
    except CodecError as error:
        report(error)
        return segment.text
    try:
        scanner.end()
    except CodecError as error:
        report(error)
    return value
