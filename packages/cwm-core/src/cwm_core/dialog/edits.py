"""Contents of the `edit` and `create` tool calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cwm_core.errors import CodecError

_SEARCH: Final = "\n<<<<<<< SEARCH\n"
_MIDDLE: Final = "\n=======\n"
_REPLACE: Final = "\n>>>>>>> REPLACE"

BLOCK_SHAPES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "edit": (
        f"[path]{_SEARCH}[search_lines]{_MIDDLE}[replacement_lines]{_REPLACE}",
        ("path", "search", "replace"),
    ),
    "create": ("[path]\n[content]", ("path", "content")),
}
"""Per tool: what its content looks like, and the names of what it holds."""


def _path(text: str) -> str:
    if not text or "\n" in text:
        raise CodecError("no path", offset=0, expected="a path on the first line")
    return text


@dataclass(frozen=True, slots=True)
class EditBlock:
    """Replaces the lines `search` of the file `path` by the lines `replace`.

    The lines have no newline at their end: an empty text is one empty line.
    """

    path: str
    search: str
    replace: str

    def render(self) -> str:
        """Return the content of the call; raises `CodecError` when a marker stands in the way."""
        text = f"{self.path}{_SEARCH}{self.search}{_MIDDLE}{self.replace}{_REPLACE}"
        if parse_edit(text) != self:
            raise CodecError(
                "an edit with a marker line inside",
                offset=0,
                expected="no '=======' line in `search`",
            )
        return text


@dataclass(frozen=True, slots=True)
class CreateBlock:
    """Creates the file `path` with `content`."""

    path: str
    content: str

    def render(self) -> str:
        """Return the content of the call; raises `CodecError` for an unusable path."""
        return f"{_path(self.path)}\n{self.content}"


def parse_edit(text: str) -> EditBlock:
    """Parse the content of an `edit` call: a path line, then exactly one search/replace block.

    The first ``=======`` line ends `search`. Raises `CodecError` with the offset in characters.
    """
    start = text.find(_SEARCH)
    if start == -1:
        raise CodecError("no search block", offset=len(text), expected="a '<<<<<<< SEARCH' line")
    path = _path(text[:start])
    search_start = start + len(_SEARCH)
    middle = text.find(_MIDDLE, search_start)
    if middle == -1:
        raise CodecError("an unfinished edit", offset=len(text), expected="a '=======' line")
    replace_start = middle + len(_MIDDLE)
    end = text.find(_REPLACE, replace_start)
    if end == -1:
        raise CodecError(
            "an unfinished edit", offset=len(text), expected="a '>>>>>>> REPLACE' line"
        )
    if end + len(_REPLACE) != len(text):
        raise CodecError(
            "text after the block", offset=end + len(_REPLACE), expected="one search/replace block"
        )
    return EditBlock(path, text[search_start:middle], text[replace_start:end])


def parse_create(text: str) -> CreateBlock:
    """Parse the content of a `create` call; raises `CodecError` without a path."""
    path, newline, content = text.partition("\n")
    if not newline:
        raise CodecError("no body", offset=len(text), expected="a newline after the path")
    return CreateBlock(_path(path), content)
