"""Whether a model's account of an execution is to be trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cwm_core.data.records import TraceRecord
from cwm_tracer.compare import same_value
from cwm_tracer.narrate.rules import Narration

FINAL = "Final value:"
_NUMBER = re.compile(r"(?<![\w.])\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?")
_ITEM = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)


def objection(account: str, narration: Narration, record: TraceRecord) -> str | None:
    """Return why an account is refused; None if nothing speaks against it.

    Its last line must be ``Final value: VALUE`` with the true value, and every number in it must
    occur in the program, in the trace or in the account made by rules.
    """
    *body, last = account.rstrip().splitlines() or [""]
    if not last.strip().startswith(FINAL) or not "".join(body).strip():
        return "no final value"
    if not same_value(last.strip().removeprefix(FINAL).strip().strip("`"), narration.answer):
        return "wrong final value"
    invented = set(_numbers(account)) - _known(narration, record)
    return "invented number" if invented else None


def _known(narration: Narration, record: TraceRecord) -> set[float]:
    known = set(_numbers(narration.text)) | set(_numbers(narration.answer))
    for frame in record.frames:
        texts = [frame.source, frame.value or "", *(frame.locals or {}).values()]
        known |= {number for text in texts for number in _numbers(text)}
        known.add(float(frame.line_number or 0))
    return known


def _numbers(text: str) -> Iterator[float]:
    for match in _NUMBER.finditer(_ITEM.sub("", text)):
        yield float(match[0].replace("_", ""))
