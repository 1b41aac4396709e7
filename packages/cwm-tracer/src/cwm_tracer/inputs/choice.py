"""The choice among inputs: those are kept that reach something new, and do so every time."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from cwm_core.data.records import COMPLETE_OUTCOMES, Outcome, TraceRecord
from cwm_tracer.capture.tracer import Tracer
from cwm_tracer.inputs.budget import Budget
from cwm_tracer.inputs.callee import Callee
from cwm_tracer.inputs.coverage import NOTHING, Feature, Reached, is_misuse, reached
from cwm_tracer.inputs.generator import InputGenerator
from cwm_tracer.inputs.text import canonical
from cwm_tracer.programs.program import Program

_FAILURES = 3
"""Inputs without any success after which a function counts as not deterministic, or as too slow."""

Objection = Callable[[TraceRecord], "str | None"]


@dataclass(frozen=True, slots=True)
class Choice:
    """The inputs chosen for a function and what became of all that were tried."""

    inputs: tuple[str, ...] = ()
    """The best first: each adds as much as possible to those before it."""
    by_generator: Mapping[str, int] = field(default_factory=dict)
    """How many of `inputs` each generator proposed."""
    tried: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    """How many were not kept, by reason."""
    lines: int = 0
    """Lines that `inputs` reach, in the function and what it calls of its program."""
    branches: int = 0
    """Transitions from line to line that they reach."""
    reason: str = ""
    """Why there are no inputs."""


@dataclass(frozen=True, slots=True)
class _Kept:
    text: str
    generator: str
    reached: Reached


def choose(
    callee: Callee,
    generators: Mapping[str, InputGenerator],
    tracer: Tracer,
    twin: Tracer | None,
    budget: Budget,
    seed: int = 0,
    objection: Objection = lambda record: None,
) -> Choice:
    """Try inputs for a function and choose those that reach most.

    `twin` records again what would be kept, under another hash seed: what differs is dropped. An
    `objection` names why a record is not wanted. The same arguments give the same choice, unless
    the budget of seconds is spent.
    """
    search = _Search(callee, tracer, twin, budget, objection)
    search.run(generators, seed)
    return search.choice()


class _Search:
    """The state of the search for one function."""

    def __init__(
        self,
        callee: Callee,
        tracer: Tracer,
        twin: Tracer | None,
        budget: Budget,
        objection: Objection,
    ) -> None:
        self._callee = callee
        self._program = Program("", callee.source, callee.entry, (), origin="inputs")
        self._tracer = tracer
        self._twin = twin
        self._budget = budget
        self._objection = objection
        self._seconds = 0.0
        self._seen: set[str] = set()
        self._dropped: Counter[str] = Counter()
        self._kept: list[_Kept] = []
        self._misuses: list[_Kept] = []
        self._places: set[Feature] = set()
        self._shapes: set[Feature] = set()
        self._given_up = ""

    def run(self, generators: Mapping[str, InputGenerator], seed: int) -> None:
        """Give every generator its turn, again and again, until nothing new comes."""
        idle = 0
        for number in itertools.count():
            tried, places = len(self._seen), len(self._places)
            for name, generator in generators.items():
                for text in itertools.islice(
                    self._fresh(generator, _derived(seed, self._callee, name, number)),
                    self._budget.turn,
                ):
                    if self._is_over():
                        return
                    self._try(text, name)
            idle = 0 if len(self._places) > places else idle + 1
            if len(self._seen) == tried or idle >= self._budget.patience:
                return

    def _is_over(self) -> bool:
        if self._seconds > self._budget.seconds:
            self._dropped["out of time"] += 1
            return True
        return bool(self._given_up) or len(self._seen) >= self._budget.candidates

    def _fresh(self, generator: InputGenerator, seed: int) -> Iterator[str]:
        known = [kept.text for kept in self._kept]
        for proposed in generator.inputs(self._callee, known, seed):
            text = canonical(proposed)
            if text is not None and text not in self._seen:
                yield text

    def _try(self, text: str, generator: str) -> None:
        self._seen.add(text)
        record = self._record(self._tracer, text)
        why = self._flaw(record)
        if why is None:
            found = _Kept(text, generator, reached(record.frames))
            why = self._weigh(found, record)
        if why is not None:
            self._drop(why)

    def _record(self, tracer: Tracer, text: str) -> TraceRecord:
        started = time.monotonic()
        record = tracer.record(self._program, text)
        self._seconds += time.monotonic() - started
        return record

    def _flaw(self, record: TraceRecord) -> str | None:
        """Return why an execution is of no use, whatever it reaches."""
        if record.outcome is Outcome.SYNTAX_ERROR or _is_broken(record):
            self._given_up = f"cannot be loaded: {record.reason}"
            return record.outcome.value
        if record.outcome not in COMPLETE_OUTCOMES:
            return f"incomplete: {record.outcome.value}"
        if not record.frames:
            return "wrong arguments"
        return self._objection(record)

    def _weigh(self, found: _Kept, record: TraceRecord) -> str | None:
        """Keep an execution that reaches something new; return why not otherwise."""
        misuse = is_misuse(record)
        if misuse and (self._kept or self._misuses):
            return "wrong types"
        new = found.reached.places - self._places or found.reached.shapes - self._shapes
        if not misuse and not new:
            return "nothing new"
        if self._twin is not None and not _same(record, self._record(self._twin, found.text)):
            return "not deterministic"
        if misuse:
            self._misuses.append(found)
            return "wrong types"
        self._kept.append(found)
        self._places |= found.reached.places
        self._shapes |= found.reached.shapes
        return None

    def _drop(self, why: str) -> None:
        self._dropped[why] += 1
        hopeless = why == "not deterministic" or why.startswith("incomplete")
        if hopeless and not self._kept and self._dropped[why] >= _FAILURES:
            self._given_up = why

    def choice(self) -> Choice:
        """Return the inputs that together reach most."""
        chosen = _cover(self._kept or self._misuses, self._budget.kept)
        spare = len(self._kept) - len(chosen)
        if spare > 0:
            self._dropped["adds less than others"] += spare
        together = [kept.reached for kept in chosen] or [NOTHING]
        reason = "" if chosen else self._given_up or _commonest(self._dropped)
        return Choice(
            inputs=tuple(kept.text for kept in chosen),
            by_generator=dict(Counter(kept.generator for kept in chosen)),
            tried=len(self._seen),
            dropped=dict(self._dropped.most_common()),
            lines=len({line for each in together for _, line in each.lines}),
            branches=len(frozenset().union(*(each.branches for each in together))),
            reason=reason,
        )


def _cover(found: list[_Kept], most: int) -> list[_Kept]:
    """Choose greedily: next comes what adds most places, then most shapes, then what came first."""
    left = list(found)
    chosen: list[_Kept] = []
    places: set[Feature] = set()
    shapes: set[Feature] = set()

    def gain(kept: _Kept) -> tuple[int, int]:
        return len(kept.reached.places - places), len(kept.reached.shapes - shapes)

    while left and len(chosen) < most:
        best = max(left, key=gain)
        if gain(best) == (0, 0):
            break
        left.remove(best)
        chosen.append(best)
        places |= best.reached.places
        shapes |= best.reached.shapes
    return chosen


def _same(one: TraceRecord, two: TraceRecord) -> bool:
    """Whether two executions look the same."""
    return (one.frames, one.outcome, one.reason, one.stdout) == (
        *(two.frames, two.outcome, two.reason),
        two.stdout,
    )


def _is_broken(record: TraceRecord) -> bool:
    """Whether the program itself, rather than this input, kept the entry from being called."""
    return record.outcome is Outcome.LOAD_ERROR and not record.reason.startswith("the input")


def _commonest(dropped: Counter[str]) -> str:
    return dropped.most_common(1)[0][0] if dropped else "nothing proposes an input"


def _derived(seed: int, callee: Callee, generator: str, number: int) -> int:
    """Return a seed of its own for each function, generator and round."""
    words = f"{seed}\0{callee.source}\0{callee.entry}\0{generator}\0{number}"
    return int.from_bytes(hashlib.sha256(words.encode("utf-8", "replace")).digest()[:8], "big")
