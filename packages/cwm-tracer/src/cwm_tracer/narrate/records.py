"""The rows of narration shards."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class NarrationRecord:
    """One account of an execution."""

    narration_id: str
    trace_id: str
    program_id: str
    split: str
    origin: str
    style: str
    """``rules`` or ``model``."""
    seed: int
    text: str
    """The whole document: `prompt`, a blank line, and the account."""
    prompt: str
    """The program and a question, with which `text` begins: the user's part of a dialog."""
    answer: str
    """The true result: `repr` of the returned value or exception, or what a script printed."""

    def to_row(self) -> dict[str, Any]:
        """Return the row; lone surrogates, which UTF-8 cannot hold, become backslash escapes."""
        return {
            name: value.encode("utf-8", "backslashreplace").decode()
            if type(value) is str
            else value
            for name, value in asdict(self).items()
        }


@cache
def narration_schema() -> pa.Schema:
    """Return the columns of the shards."""
    import pyarrow as pa

    kinds = {"seed": pa.int64()}
    return pa.schema(
        {name: kinds.get(name, pa.string()) for name in NarrationRecord.__dataclass_fields__}
    )
