"""Worked examples for a terminal: a program, its input, the true and the predicted execution."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from cwm_core.trace.frames import START_OF_TRACE
from cwm_eval.report.alignment import Cell, Pair, align
from cwm_eval.report.selection import worked_examples
from cwm_eval.samples import Sample

_MARKS = {"right": " ", "wrong": "≠", "missing": "‑", "extra": "+"}


def examples_text(samples: Sequence[Sample], *, width: int = 110, frames: int = 40) -> str:
    """Return up to three examples: one right, one nearly right, one wrong, where there are such."""
    found = worked_examples(samples)
    if not found:
        return "No trace was generated, so there is no example.\n"
    parts = [
        _example(number, kind, sample, width, frames)
        for number, (kind, sample) in enumerate(found, start=1)
    ]
    return "\n\n".join(parts) + "\n"


def _example(number: int, kind: str, sample: Sample, width: int, frames: int) -> str:
    assert sample.result is not None
    free, truth = sample.result["free"], sample.result["truth"]
    entry, given = sample.metadata.get("entry", "f"), sample.metadata.get("input", "")
    pairs = align(truth[1:], free["frames"])
    right = sum(pair.verdict == "right" for pair in pairs)
    lines = [
        _rule(f" Example {number}: {kind} ", width),
        "",
        *_program(sample.result["context"]),
        "",
        *_wrapped(f"Call: {entry}({given})", width),
        f"{right} of {len(truth) - 1} frames are right.",
        "",
        *_table(pairs[:frames], width),
    ]
    if len(pairs) > frames:
        lines.append(f"  ... {len(pairs) - frames} more frames")
    if free["problem"]:
        lines += ["", *_wrapped(f"The prediction leaves the format: {free['problem']}", width)]
    return "\n".join(line.rstrip() for line in lines)


def _rule(title: str, width: int) -> str:
    return f"──{title}" + "─" * (width - len(title) - 2)


def _program(context: str) -> Iterator[str]:
    for line in context.replace(START_OF_TRACE, "").rstrip().splitlines():
        yield "    " + _printable(line.rstrip())


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(_printable(text), width) or [""]


def _table(pairs: Sequence[Pair], width: int) -> Iterator[str]:
    half = (width - 7) // 2
    yield f"     {'true execution':<{half}}  predicted"
    for pair in pairs:
        left, right = _cell(pair.truth, half), _cell(pair.predicted, half)
        for row in range(max(len(left), len(right))):
            number = f"{pair.index + 1:>3}" if row == 0 else "   "
            true = left[row] if row < len(left) else ""
            guess = right[row] if row < len(right) else ""
            mark = _MARKS[pair.verdict] if row == 0 else " "
            yield f"{number}{mark} {true:<{half}}  {guess}"


def _cell(cell: Cell | None, width: int) -> list[str]:
    if cell is None:
        return ["(nothing)"]
    head = f"{cell.event:<9} {_printable(cell.source)}"
    if cell.value is not None:
        return _clip([head, f"{'':9} → {_printable(cell.value)}"], width)
    shown = [f"{v.name}={v.value}" for v in cell.variables if v.changed or v.wrong]
    state = f"{'':9} {', '.join(shown)}" if shown else ""
    return _clip([head, *([_printable(state)] if state else [])], width)


def _clip(lines: Sequence[str], width: int) -> list[str]:
    return [line if len(line) <= width else line[: width - 1] + "…" for line in lines]


def _printable(text: str) -> str:
    """Escape control characters: a program's text must not steer the terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text.expandtabs(4))
