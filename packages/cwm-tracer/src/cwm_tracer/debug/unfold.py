"""The parts of a value, cut out of its text: items, entries, fields of an object.

The text is cut where its brackets and commas say, not parsed: what a recorder leaves out
(``<+3 more>``) and what is no expression (``<lock object>``) stays as it is.
"""

from __future__ import annotations

import re

LEFT_OUT = "…"
"""The name of a part that says how many others are not recorded."""

_HEAD = re.compile(r"[\w.]*(?=[(\[{])")
_ENDS = {"(": ")", "[": "]", "{": "}"}
_TOKEN = re.compile(
    r"""'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*"|[()\[\]{}<>,:=]""", re.DOTALL
)
_MARK = re.compile(r"<\+\d+ more>")


def unfolds(text: str) -> bool:
    """Whether a value looks as if it had parts; takes no longer where it is very long."""
    head = _HEAD.match(text)
    if head is None:
        return False
    first = head.end()
    if text[-1] != _ENDS[text[first]] or (text[0] == "(" and "," not in text):
        return False
    return len(text) > first + 2


def children(text: str) -> list[tuple[str, str]]:
    """Return the parts of a value's text as (name, text), none where it has none."""
    head = _HEAD.match(text)
    if head is None or not unfolds(text):
        return []
    opening = text[head.end()]
    separator = "=" if head[0] else ":" if opening == "{" else ""
    parts: list[tuple[str, str]] = []
    for key, value in _cut(text, head.end(), separator):
        if _MARK.fullmatch(value):
            name = LEFT_OUT
        elif key:
            name = key if separator == "=" else f"[{key}]"
        else:
            name = f"[{len(parts)}]" if head[0] or opening != "{" else ""
        parts.append((name, value))
    return parts


def _cut(text: str, start: int, separator: str) -> list[tuple[str, str]]:
    """Return what stands before and after the first separator of each part between the brackets
    that open at `start`; nothing comes before where there is no separator.

    There is no part where those brackets are not closed at the very end.
    """
    parts = []
    depth = angles = 0
    begin = value = start + 1
    for token in _TOKEN.finditer(text, start):
        at, mark = token.start(), token[0]
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth -= 1
        elif mark == "<":
            angles += 1
        elif mark == ">":
            angles = max(0, angles - 1)
        elif mark == separator and value == begin and depth == 1 and not angles:
            value = at + 1
        if not depth or (mark == "," and depth == 1 and not angles):
            parts.append((text[begin : max(begin, value - 1)].strip(), text[value:at].strip()))
            begin = value = at + 1
        if not depth:
            break
    if depth or begin < len(text):
        return []
    return parts if parts[-1][1] else parts[:-1]
