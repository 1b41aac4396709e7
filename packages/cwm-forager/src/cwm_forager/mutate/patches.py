"""Unified diffs as `git apply` reads them."""

from __future__ import annotations

import difflib


def unified_diff(path: str, old: str, new: str) -> str:
    """Return the patch that turns one text of a file into another; empty where they are equal."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    lines = difflib.unified_diff(before, after, f"a/{path}", f"b/{path}")
    body = "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
    return f"diff --git a/{path} b/{path}\n{body}" if body else ""


def changed_lines(old: str, new: str) -> set[int]:
    """Return the lines of the old text, from 1, that the new one changes or lacks.

    Where lines are only added, the ones on both sides of them.
    """
    matcher = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False)
    changed: set[int] = set()
    for tag, start, end, _, _ in matcher.get_opcodes():
        if tag == "insert":
            changed.update((start, start + 1))
        elif tag != "equal":
            changed.update(range(start + 1, end + 1))
    return changed
