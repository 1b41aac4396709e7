"""The tools of software-engineering tasks, run in a sandbox.

Paths are those of the shell: relative to the directory that it is in.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cwm_core.dialog.edits import parse_create, parse_edit
from cwm_core.dialog.results import render_submission
from cwm_core.dialog.tools import ToolCall, ToolSpec
from cwm_core.errors import CodecError
from cwm_core.sandbox.base import ExecResult, Sandbox, SandboxError, Shell

SNIPPET_LINES = 8
"""Lines shown before and after an edit."""
VIEW_LINES = 500
FILE_TIMEOUT_S = 30.0

BASH = ToolSpec(
    "bash",
    "Runs the command or commands in the shell, which keeps its directory, variables and functions "
    "from call to call. They must not wait for input.",
    ("command",),
)
EDIT = ToolSpec(
    "edit",
    "Replaces [search_lines] by [replacement_lines] in the file [path], which must exist. "
    "[search_lines] are one or more whole consecutive lines, matched exactly with their "
    "indentation, and must occur once.",
    ("path", "search", "replace"),
)
CREATE = ToolSpec(
    "create",
    "Makes the file [path] with [content]. The file must not exist, its directory must.",
    ("path", "content"),
)
VIEW = ToolSpec(
    "view",
    "Shows a file with line numbers, or what a directory holds. After the path, on the same line, "
    "may stand the first and the last line to show: src/main.py 10 40",
    ("path",),
)
SUBMIT = ToolSpec(
    "submit",
    "Hands in the file at the given path as the result. It can be called again with a better one.",
    ("path",),
)


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool answers; `submission` is the content of a file that was handed in."""

    text: str
    success: bool = True
    submission: str | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """Where tools work: a sandbox with an open shell."""

    sandbox: Sandbox
    shell: Shell
    timeout_s: float = 120.0
    """Seconds per command of the shell."""
    diff_only: bool = True
    """Whether a submission must be a git diff."""

    async def run(self, call: ToolCall) -> ToolOutput:
        """Run a tool; SandboxError when the sandbox itself fails.

        Raises:
            KeyError: there is no such tool.
        """
        return await TOOLS[call.name][1](self, call.content)

    async def absolute(self, path: str) -> str:
        """Return the absolute path that the shell's directory gives."""
        if path.startswith("/"):
            return path
        here = await self.shell.run("pwd", FILE_TIMEOUT_S)
        return f"{here.text.rstrip(chr(10))}/{path}"

    async def test(self, flag: str, path: str) -> bool:
        """Run the shell's ``test`` on a path."""
        line = f"test {flag} {shlex.quote(path)}"
        return (await self.shell.run(line, FILE_TIMEOUT_S)).exit_code == 0


async def bash(desk: Desk, command: str) -> ToolOutput:
    """Run a command in the shell; both streams are shown as they came."""
    try:
        result = await desk.shell.run(command, desk.timeout_s)
    except SandboxError as error:
        if "null character" not in str(error):
            raise
        return ToolOutput(str(error), success=False)
    return ToolOutput(result.text + _remark(result, desk.timeout_s), not _remark(result, 0))


def _remark(result: ExecResult, timeout_s: float) -> str:
    notes = []
    if result.timed_out:
        notes.append(f"The command was ended after {timeout_s:g} seconds.")
    if result.limit:
        notes.append(f"The command was ended: it exceeded the limit on {result.limit}.")
    if result.truncated:
        notes.append("The command wrote more than can be kept; the rest is lost.")
    if result.restarted:
        notes.append("The shell has ended; the next command meets a new one.")
    return "".join(f"\n[{note}]" for note in notes)


async def edit(desk: Desk, content: str) -> ToolOutput:
    """Replace the one place where the searched lines stand, and show it with what is around."""
    try:
        block = parse_edit(content)
    except CodecError as error:
        shape = EDIT.shape
        return ToolOutput(f"The edit cannot be read: {error}. Write it as:\n{shape}", False)
    path = await desk.absolute(block.path)
    if not await desk.test("-f", path):
        return ToolOutput(f"There is no file {block.path}.", False)
    before = (await desk.sandbox.read_file(path)).decode("utf-8", "surrogateescape")
    places = _occurrences(before, block.search)
    if len(places) != 1:
        return ToolOutput(_unfound(before, block.path, block.search, places), False)
    start = places[0]
    after = before[:start] + block.replace + before[start + len(block.search) :]
    await desk.sandbox.write_file(path, after.encode("utf-8", "surrogateescape"))
    return ToolOutput(_edited(block.path, after, start, block.replace))


def _occurrences(text: str, search: str) -> list[int]:
    """Return the offsets of `search` at the starts of lines, overlapping ones too.

    Only the start is bound to a line: the last searched line may be the start of one in the file.
    """
    whole, wanted = "\n" + text, "\n" + search
    places, start = [], whole.find(wanted)
    while start != -1:
        places.append(start)
        start = whole.find(wanted, start + 1)
    return places


def _unfound(text: str, path: str, search: str, places: list[int]) -> str:
    if places:
        lines = [text.count("\n", 0, place) + 1 for place in places]
        return (
            f"Nothing was replaced: the searched lines occur more than once in {path}, at lines "
            f"{', '.join(map(str, lines))}. Add lines that make them unique."
        )
    message = f"Nothing was replaced: the searched lines do not occur in {path}."
    if search.split("\n")[0].strip() and search.split("\n")[0].strip() in text:
        message += " They must match whole lines of the file exactly, with their indentation."
    return message


def _edited(path: str, text: str, start: int, replacement: str) -> str:
    line = text.count("\n", 0, start) + 1
    lines = text.split("\n")
    first = max(1, line - SNIPPET_LINES)
    last = line + replacement.count("\n") + SNIPPET_LINES
    return (
        f"{path} was changed at line {line}; it now has {len(lines)} lines. Around the change:\n"
        f"{_numbered(lines, first, last)}\nCheck that this is what you meant."
    )


def _numbered(lines: list[str], first: int, last: int) -> str:
    shown = lines[first - 1 : last]
    text = "\n".join(f"{number:6}\t{line}" for number, line in enumerate(shown, start=first))
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


async def create(desk: Desk, content: str) -> ToolOutput:
    """Write a new file into a directory that exists."""
    try:
        block = parse_create(content)
    except CodecError as error:
        return ToolOutput(f"The file cannot be made: {error}.", success=False)
    path = await desk.absolute(block.path)
    if await desk.test("-e", path):
        return ToolOutput(f"{block.path} exists already; use edit to change it.", success=False)
    parent = path.rpartition("/")[0] or "/"
    if not await desk.test("-d", parent):
        return ToolOutput(f"The directory of {block.path} does not exist.", success=False)
    await desk.sandbox.write_file(path, block.content.encode("utf-8", "surrogatepass"))
    return ToolOutput(f"{block.path} was made.")


async def view(desk: Desk, content: str) -> ToolOutput:
    """Show lines of a file, or the names in a directory."""
    words = content.strip().split()
    name, first, last = content.strip(), 1, VIEW_LINES
    if len(words) >= 3 and words[-1].isdigit() and words[-2].isdigit():
        name, first, last = " ".join(words[:-2]), max(1, int(words[-2])), int(words[-1])
    path = await desk.absolute(name)
    if await desk.test("-d", path):
        listed = await desk.shell.run(f"ls -Ap -- {shlex.quote(path)}", FILE_TIMEOUT_S)
        return ToolOutput(listed.text.rstrip("\n"))
    if not await desk.test("-f", path):
        return ToolOutput(f"There is no file or directory {name}.", success=False)
    lines = (await desk.sandbox.read_file(path)).decode("utf-8", "surrogateescape").split("\n")
    if first > len(lines):
        return ToolOutput(f"{name} has {len(lines)} lines only.", success=False)
    rest = f"\n[{len(lines) - last} more lines]" if last < len(lines) else ""
    return ToolOutput(_numbered(lines, first, last) + rest)


async def submit(desk: Desk, content: str) -> ToolOutput:
    """Read the file that is handed in; a patch must be a git diff."""
    name = content.strip()
    path = await desk.absolute(name)
    if not await desk.test("-f", path):
        return ToolOutput(f"{name} cannot be submitted: there is no such file.", success=False)
    text = (await desk.sandbox.read_file(path)).decode("utf-8", "surrogateescape")
    if not text.strip():
        return ToolOutput(f"{name} cannot be submitted: it is empty.", success=False)
    if desk.diff_only and not text.startswith("diff"):
        return ToolOutput(
            f"{name} cannot be submitted: it is no patch. Make it with `git diff > {name}`.",
            success=False,
        )
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    note = (
        f"This is now your submission:\n\n{render_submission(shown.strip(chr(10)))}\n\n"
        "Read it again. You can submit a better one, or end with a final answer."
    )
    return ToolOutput(note, submission=text)


TOOLS: dict[str, tuple[ToolSpec, Callable[[Desk, str], Awaitable[ToolOutput]]]] = {
    "bash": (BASH, bash),
    "edit": (EDIT, edit),
    "create": (CREATE, create),
    "view": (VIEW, view),
    "submit": (SUBMIT, submit),
}
"""By name: how a tool is announced, and what runs it."""
