"""Diff-coding of locals: on a line frame, ``".."`` says that a variable is unchanged.

The reader looks the value up in earlier frames, up to and including the nearest call frame, and
never beyond a call or return frame. The writer uses ``".."`` exactly where the variable has the
same value in the nearest earlier call or line frame of that range. Call frames are never coded:
they open a scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from cwm_core.errors import CodecError
from cwm_core.trace.frames import Event, Frame

UNCHANGED: Final = ".."


class DiffEncoder:
    """Codes the locals of frames, one after the other."""

    def __init__(self) -> None:
        self._last: Mapping[str, str] = {}

    def encode(self, event: Event, full: Mapping[str, str]) -> Mapping[str, str]:
        """Return the coded locals of a frame; `full` is empty on return and exception frames."""
        last = self._last
        if event is Event.LINE:
            self._last = full
            return {
                name: UNCHANGED if last.get(name) == value else value
                for name, value in full.items()
            }
        if event is not Event.EXCEPTION:
            self._last = full
        return full


class DiffDecoder:
    """Resolves the locals of frames, one after the other."""

    def __init__(self, before: Iterable[Frame] = ()) -> None:
        """Start after the frames `before`, whose locals are complete."""
        self._last: Mapping[str, str] = {}
        self._known: dict[str, str] = {}
        for frame in before:
            self.step(frame.event, frame.locals or {})

    def resolve(self, event: Event, name: str) -> str | None:
        """Return what ``".."`` stands for in a frame of this kind; None when nothing precedes."""
        return self._known.get(name) if event is Event.LINE else None

    def last(self, event: Event, name: str) -> str | None:
        """Return the value that the writer would abbreviate; None when it would spell it out."""
        return self._last.get(name) if event is Event.LINE else None

    def step(self, event: Event, full: Mapping[str, str]) -> None:
        """Go past a frame with the given complete locals."""
        if event is Event.EXCEPTION:
            return
        if event is not Event.LINE:
            self._known = {}
        self._known.update(full)
        self._last = full


def check_literal(frame_index: int, values: Mapping[str, str]) -> None:
    """Raise `CodecError` when a value's text is itself ``".."``, which the format cannot say."""
    for name, value in values.items():
        if value == UNCHANGED:
            raise CodecError(
                f"the local {name!r} has the text '..', which means 'unchanged' on the wire,",
                offset=frame_index,
                expected="another text for the value (the offset counts frames)",
            )


def encode_diff(frames: Iterable[Frame]) -> tuple[Frame, ...]:
    """Return the frames with diff-coded locals.

    Raises `CodecError` (its offset is the frame's index) when a value's text is ``".."``.
    """
    coder = DiffEncoder()
    coded = []
    for index, frame in enumerate(frames):
        full = frame.locals or {}
        check_literal(index, full)
        values = coder.encode(frame.event, full)
        coded.append(frame if frame.locals is None else replace(frame, locals=values))
    return tuple(coded)


def decode_diff(frames: Iterable[Frame]) -> tuple[Frame, ...]:
    """Return the frames with complete locals: the inverse of `encode_diff`.

    Raises `CodecError` (its offset is the frame's index) for a ``".."`` that nothing precedes.
    """
    coder = DiffDecoder()
    plain = []
    for index, frame in enumerate(frames):
        full = {}
        for name, value in (frame.locals or {}).items():
            known = coder.resolve(frame.event, name) if value == UNCHANGED else value
            if known is None:
                raise CodecError(
                    f"the local {name!r} is '..' but no frame before tells its value",
                    offset=index,
                    expected="a value (the offset counts frames)",
                )
            full[name] = known
        coder.step(frame.event, full)
        plain.append(frame if frame.locals is None else replace(frame, locals=full))
    return tuple(plain)
