"""What a model's text says: code, a boxed answer, a value."""

from __future__ import annotations

import ast
import re

_FENCED = re.compile(r"^[ \t]*```([^\n`]*)\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_THINK_END = "</think>"
_TAGGED = re.compile(r"\[ANSWER\](.*?)(?:\[/ANSWER\]|$)", re.DOTALL)
_LABEL = re.compile(r"^\W*(?:the )?(?:final )?(?:answer|output|result)(?: is)?\s*:?\s*", re.I)


def without_reasoning(text: str, *, reasoning: bool) -> str | None:
    """Return what follows the reasoning; None when a reasoning that was begun never ends."""
    _, end, after = text.rpartition(_THINK_END)
    if end:
        return after.strip("\n")
    return None if reasoning or "<think>" in text else text


def code_blocks(text: str) -> list[str]:
    """Return the contents of all fenced blocks, in order."""
    return [match[2] for match in _FENCED.finditer(text)]


def labelled_blocks(text: str) -> list[tuple[str, str]]:
    """Return label and content of all fenced blocks, in order."""
    return [(match[1].strip().lower(), match[2]) for match in _FENCED.finditer(text)]


def last_code(text: str) -> str:
    """Return the last fenced block, the whole text where there is none."""
    found = code_blocks(text)
    return found[-1] if found else text


def defines(code: str, name: str) -> bool:
    """Whether `code` is valid Python that defines `name` at its top level."""
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) and node.name == name for node in body) or any(
        isinstance(target, ast.Name) and target.id == name
        for node in body
        if isinstance(node, ast.Assign)
        for target in node.targets
    )


def boxed(text: str) -> str | None:
    r"""Return the content of the last ``\boxed{...}`` (or ``\fbox``), braces balanced."""
    starts = [match.end() for match in re.finditer(r"\\(?:boxed|fbox)\s*\{", text)]
    for start in reversed(starts):
        depth = 1
        for index in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[index], 0) if text[index - 1] != "\\" else 0
            if depth == 0:
                return text[start:index].strip()
    return None


def value(text: str) -> str:
    """Return the Python expression that a text ends with.

    In this order: between ``[ANSWER]`` tags, a fenced block, the last line; of
    ``assert f(...) == value`` and of ``f(...) == value`` the right-hand side, without labels.
    """
    tagged = _TAGGED.findall(text)
    text = tagged[-1] if tagged else last_code(text)
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return ""
    whole = _right_hand_side(text.strip())
    if whole is not None:
        return whole
    line = lines[-1]
    for candidate in (line, _LABEL.sub("", line)):
        candidate = candidate.strip().strip("`").strip()
        found = _right_hand_side(candidate)
        if found is not None:
            return found
    return _LABEL.sub("", line).strip().strip("`").strip()


def call(text: str, name: str) -> str:
    """Return the call of `name` that a text ends with, as CRUXEval-I asks for."""
    tagged = _TAGGED.findall(text)
    text = (tagged[-1] if tagged else last_code(text)).strip()
    lines = [text, *[line.strip() for line in reversed(text.splitlines()) if line.strip()]]
    for line in lines:
        line = _LABEL.sub("", line).strip().strip("`").removeprefix("assert ").strip()
        try:
            node = ast.parse(line, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        if isinstance(node, ast.Compare):
            node = node.left
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            return ast.unparse(node)
    return text


def _right_hand_side(text: str) -> str | None:
    try:
        node = ast.parse(text.removeprefix("assert ").strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
        return ast.unparse(node.comparators[0])
    return text.strip()
