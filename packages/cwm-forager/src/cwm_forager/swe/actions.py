"""What a turn of an agent asks for: one tool call, a final answer, or neither."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from cwm_core.dialog.tools import ToolCall, find_calls
from cwm_core.text import special_tokens as st

_ENDS = {"tag": "</think>", "token": st.REASONING_END}


@dataclass(frozen=True, slots=True)
class Asked:
    """One of: a `call`, or a `problem` with the format; `answer` is the turn without reasoning."""

    answer: str
    call: ToolCall | None = None
    problem: str = ""
    thought_well: bool = True
    """Whether the reasoning ended exactly once, where there must be some."""


def read_action(text: str, tools: Collection[str], thinking: str) -> Asked:
    """Read a turn; `thinking` is that of `SweConfig`."""
    answer = text
    if thinking != "off":
        end = _ENDS[thinking]
        count = text.count(end)
        answer = text.split(end, 1)[-1] if count else text
        if count != 1:
            problem = f"The reasoning must end with {end} exactly once, it does {count} times."
            return Asked(answer, problem=problem, thought_well=False)
    found = find_calls(answer)
    if found.problems:
        return Asked(answer, problem=f"The tool call is malformed: {found.problems[0]}.")
    if len(found.calls) > 1:
        names = ", ".join(call.name for call in found.calls)
        return Asked(answer, problem=f"One tool call per turn is allowed, there are: {names}.")
    if not found.calls:
        return Asked(answer, problem="There is no tool call.")
    call = found.calls[0]
    if call.name not in tools:
        return Asked(answer, problem=f"There is no tool {call.name!r}; use {', '.join(tools)}.")
    if not call.content.strip():
        return Asked(answer, problem=f"The call of {call.name} is empty.")
    return Asked(answer, call)
