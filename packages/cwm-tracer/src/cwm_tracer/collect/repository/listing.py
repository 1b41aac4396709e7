"""The source text that a trace shows: the functions it runs through, one below the other."""

from __future__ import annotations

import textwrap
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any

Place = tuple[int, int]
"""Number of a file, and a line in it."""


class Listing:
    """The blocks of the repository's files around some lines, as one text.

    A block is a function, with the headers of the classes around it, or a statement of a module.
    The file of the entry comes first; comments name the files if there are several.

    Raises:
        KeyError: a line is in no block.
    """

    def __init__(self, index: Mapping[str, Any], entry: Place, places: Iterable[Place]) -> None:
        self._index = index
        self._lines: list[str] = []
        self._places: dict[Place, int] = {}
        chosen: dict[int, dict[int, Any]] = {}
        for file, line in [entry, *places]:
            block = block_at(index[str(file)], line)
            chosen.setdefault(file, {})[block[0]] = block
        self.parts: list[tuple[int, str]] = []
        """First line of the text that shows a file, and the file's path."""
        for file, blocks in chosen.items():
            self.parts.append((len(self._lines) + 1, index[str(file)]["path"]))
            if len(chosen) > 1:
                self._separate()
                self._lines.append(f"# {index[str(file)]['path']}")
            self._add_file(file, [block for _, block in sorted(blocks.items())])

    @property
    def text(self) -> str:
        """The text, ended by a newline."""
        return "\n".join(self._lines) + "\n"

    def line(self, place: Place) -> int:
        """Return the line of the text (from 1) that shows a line of a file."""
        return self._places[place]

    def _add_file(self, file: int, blocks: list[Any]) -> None:
        source = self._index[str(file)]["source"].split("\n")
        open_headers: list[Any] = []
        for number, (first, last, headers) in enumerate(blocks):
            if number:
                self._separate()
            for header in headers:
                if header not in open_headers:
                    self._copy(file, source, *header)
            open_headers = headers
            self._copy(file, source, first, last)

    def _copy(self, file: int, source: list[str], first: int, last: int) -> None:
        for line in range(first, last + 1):
            self._lines.append(source[line - 1].rstrip("\r"))
            self._places[file, line] = len(self._lines)

    def _separate(self) -> None:
        if self._lines:
            self._lines.append("")


def block_at(described: Mapping[str, Any], line: int) -> tuple[int, int, list[Any]]:
    """Return the block of a file that holds a line."""
    blocks = described["blocks"]
    position = bisect_right(blocks, line, key=lambda block: block[0]) - 1
    if position < 0 or not blocks[position][0] <= line <= blocks[position][1]:
        raise KeyError(line)
    first, last, headers = blocks[position]
    return first, last, headers


def function_source(described: Mapping[str, Any], line: int) -> str:
    """Return the source of the block that holds a line, without its indentation."""
    first, last, _ = block_at(described, line)
    lines = described["source"].split("\n")[first - 1 : last]
    return textwrap.dedent("\n".join(lines)) + "\n"
