"""What tools answer: the `python` tool's result, and observations of software-engineering tasks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cwm_core.errors import CodecError


@dataclass(frozen=True, slots=True)
class PythonResult:
    """Result of the `python` tool: what was printed, or the error that kept it from running."""

    stdout: str = ""
    stderr: str = ""
    error: str | None = None

    def render(self, *, separator: str = " ") -> str:
        """Return the tool message's content.

        `separator` stands between the parts: a space as CWM's code has it, or a newline as its
        prompting guide draws it.
        """
        if self.error is not None:
            return f"error: {self.error}"
        parts = ["completed."]
        if self.stdout:
            parts.append(f"[stdout]{self.stdout}[/stdout]")
        if self.stderr:
            parts.append(f"[stderr]{self.stderr}[/stderr]")
        return separator.join(parts)


_COMPLETED: Final = re.compile(
    r"completed\.(?:[ \n]\[stdout\](?P<stdout>.*)\[/stdout\])?"
    r"(?:[ \n]\[stderr\](?P<stderr>.*)\[/stderr\])?",
    re.DOTALL,
)


def parse_python_result(text: str) -> PythonResult:
    """Parse the content of a `python` tool message; raises `CodecError` for anything else.

    Output that itself contains the tags is read as far as they allow.
    """
    if text.startswith("error: "):
        return PythonResult(error=text.removeprefix("error: "))
    match = _COMPLETED.fullmatch(text)
    if match is None:
        raise CodecError("no python result", offset=0, expected="'completed.' or 'error: '")
    return PythonResult(match["stdout"] or "", match["stderr"] or "")


@dataclass(frozen=True, slots=True)
class ToolObservation:
    """What a software-engineering task shows after a tool call: output and what is left."""

    output: str
    remaining_turns: int
    remaining_tokens: int

    def render(self) -> str:
        """Return the tool message's content."""
        return (
            f"<output>\n{self.output}\n</output>\n\n<budget>\n"
            f"* Remaining turns: {self.remaining_turns}\n"
            f"* Remaining tokens: {self.remaining_tokens}\n</budget>"
        )


_OBSERVATION: Final = re.compile(
    r"<output>\n(?P<output>.*)\n</output>\n\n<budget>\n"
    r"\* Remaining turns: (?P<turns>-?\d{1,18})\n"
    r"\* Remaining tokens: (?P<tokens>-?\d{1,18})\n</budget>",
    re.DOTALL | re.ASCII,
)


def parse_observation(text: str) -> ToolObservation:
    """Parse the content of such a tool message; raises `CodecError` for anything else."""
    match = _OBSERVATION.fullmatch(text)
    if match is None:
        raise CodecError("no observation", offset=0, expected="<output> and <budget> blocks")
    return ToolObservation(match["output"], int(match["turns"]), int(match["tokens"]))


def render_submission(patch: str) -> str:
    """Return the echo of a submitted patch, to be shown as an observation's output."""
    return f"<submission>\n{patch}\n</submission>"
