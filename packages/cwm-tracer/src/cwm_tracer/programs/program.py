"""A program to trace, and what it is made of."""

import ast
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cwm_tracer.programs.constructs import constructs_in


def normalise(source: str) -> str:
    """The source with `\\n` line ends, no trailing blanks and one final newline."""
    lines = [line.rstrip() for line in source.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return "\n".join(lines).strip("\n") + "\n"


def content_id(source: str) -> str:
    """A short stable hash (16 hex digits) of the normalised source."""
    return hashlib.sha256(normalise(source).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Program:
    """A program with an entry point and argument lists to run it on.

    Each input is the text of an argument list in Python source (`"[1, 2], 'ab', k=3"`), to be
    evaluated in the program's own namespace.
    """

    id: str
    """Short stable hash of the normalised source."""
    source: str
    """Python source of the whole program."""
    entry: str
    """Name of the entry function, `Class.method`, or `<module>` for a script."""
    inputs: tuple[str, ...]
    """Argument lists as Python source."""
    difficulty: int | None = None
    """1..5 where the generator made it."""
    constructs: tuple[str, ...] = ()
    """Sorted tags of the constructs that the source uses; see `constructs_of`."""
    origin: str = ""
    """Where it came from: `generated:3:17`, `cruxeval.jsonl:12 sample_11`."""

    group: str = ""
    """Programs of one group go to the same side of the split; empty: by itself."""

    @classmethod
    def of(
        cls,
        source: str,
        entry: str,
        inputs: Sequence[str],
        difficulty: int | None = None,
        origin: str = "",
    ) -> "Program":
        """A program with id and constructs computed from its source.

        A source that does not parse has no constructs; running it will say why.
        """
        text = normalise(source)
        try:
            tags = constructs_in(ast.parse(text))
        except (SyntaxError, ValueError, RecursionError):
            tags = ()
        return cls(content_id(text), text, entry, tuple(inputs), difficulty, tags, origin)


def constructs_of(source: str) -> tuple[str, ...]:
    """Sorted tags of the constructs in a source (see `cwm_tracer.programs.constructs.TAGS`).

    Raises SyntaxError if the source does not parse.
    """
    return constructs_in(ast.parse(source))
