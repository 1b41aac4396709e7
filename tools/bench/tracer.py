"""Events per second of tracers on three programs, in one run on the current interpreter.

    uv run --group bench python tools/bench/tracer.py [--repeats 5] [--json FILE]

Compared are PySnooper, hunter's VarsSnooper, snoop, a plain `settrace` recorder that diffs the
`repr` of all locals, our recorder in pure Python (twin) and in C (native, where it is built), and a
`settrace` callback that does nothing (empty).

Each measurement has a process of its own and the recorders take turns, so that a change of the
machine's speed meets all of them. Times are the processor's, of the traced call alone. A callback
that only counts gives the true number of events, which the recorders that count must equal. Peers
write to a stream that keeps nothing; ours into the shared memory that the tracer reads.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

DP = """
def program(size):
    a = ([0, 7, 4, 1, 8, 5, 2, 9, 6, 3] * size)[:size]
    b = [0, 3, 6, 9, 2, 5, 8, 1, 4, 7] * 10
    previous = [0] * 101
    for x in a:
        current = [0]
        for j in range(100):
            if x == b[j]:
                current.append(previous[j] + 1)
            else:
                current.append(max(previous[j + 1], current[j]))
        previous = current
    return previous[100]
"""
WORDS = """
def program(size):
    words = "the quick brown fox jumps over the lazy dog while the cat sleeps".split()
    counts = {}
    longest = ""
    text = ""
    for i in range(size):
        word = words[(i * 5) % len(words)]
        counts[word] = counts.get(word, 0) + 1
        if len(word) > len(longest):
            longest = word
        text = (text + word[0])[-40:]
    return counts, longest, text
"""
QUEENS = """
def safe(columns, column):
    row = len(columns)
    for r, c in enumerate(columns):
        if c == column or abs(c - column) == row - r:
            return False
    return True

def place(n, columns, found):
    if len(columns) == n:
        found.append(list(columns))
        return
    for column in range(n):
        if safe(columns, column):
            columns.append(column)
            place(n, columns, found)
            columns.pop()

def program(size):
    found = []
    place(size, [], found)
    return len(found)
"""
PROGRAMS = {"dp": DP, "words": WORDS, "queens": QUEENS}
TITLES = {"dp": "nested loops over lists", "words": "word counts", "queens": "queens"}
SIZES = {"dp": 100, "words": 7000, "queens": 7}
"""Rows of the table, words, and queens: 30 to 45 thousand events each."""
TINY = {"dp": 2, "words": 40, "queens": 4}
TRACE_BYTES = 1 << 30
OURS = ("twin", "native")
COUNTING = (*OURS, "plain")
"""Recorders that say how many events they saw."""
Sample = tuple[float, int | None]
"""Seconds of processor time, and events seen, if the recorder counts."""


class Subject:
    """One program, in a file, because some peers read the source."""

    def __init__(self, name: str, size: int, directory: str) -> None:
        self.source = PROGRAMS[name]
        self.size = size
        self.path = str(Path(directory) / f"{name}_program.py")
        Path(self.path).write_text(self.source)

    def namespace(self) -> dict[str, Any]:
        """Run the program's definitions; `program` is its entry."""
        found: dict[str, Any] = {"__name__": "program", "__file__": self.path}
        exec(compile(self.source, self.path, "exec"), found)
        return found

    def own(self, frame: FrameType) -> bool:
        """Whether a frame is the program's; what 3.12 inlines is left out everywhere."""
        inlined = frame.f_code.co_name in ("<listcomp>", "<setcomp>", "<dictcomp>")
        return frame.f_code.co_filename == self.path and not inlined

    def timed(self, function: Callable[[int], Any], callback: Any = None) -> float:
        """Call a function under a trace callback; returns seconds of processor time."""
        sys.settrace(callback)
        started = time.process_time()
        try:
            function(self.size)
            return time.process_time() - started
        finally:
            sys.settrace(None)

    def timed_own(self, local: Callable[..., Any]) -> float:
        """Time the program under a callback that sees the program's frames only."""

        def called(frame: FrameType, event: str, arg: Any) -> Any:
            return local(frame, event, arg) if self.own(frame) else None

        return self.timed(self.namespace()["program"], called)


class Sink(io.TextIOBase):
    """Keeps nothing."""

    def write(self, text: str) -> int:
        """Say that all was written."""
        return len(text)


def untraced(subject: Subject) -> Sample:
    return subject.timed(subject.namespace()["program"]), None


def empty(subject: Subject) -> Sample:
    def callback(frame: FrameType, event: str, arg: Any) -> Any:
        return callback

    return subject.timed(subject.namespace()["program"], callback), None


def counted(subject: Subject) -> Sample:
    """The true number of events."""
    events = 0

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal events
        events += 1
        return local

    return subject.timed_own(local), events


def plain(subject: Subject) -> Sample:
    """What one writes first: the `repr` of all locals, and the difference to the last ones."""
    events = 0
    out = Sink()
    last: dict[FrameType, dict[str, str]] = {}

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal events
        events += 1
        if event in ("call", "line"):
            texts = {name: repr(value) for name, value in frame.f_locals.items()}
            before = last.get(frame, {})
            changed = {name: text for name, text in texts.items() if before.get(name) != text}
            gone = [name for name in before if name not in texts]
            last[frame] = texts
            out.write(json.dumps([event, frame.f_lineno, changed, gone]))
        else:
            value = arg if event == "return" else arg[1]
            out.write(json.dumps([event, frame.f_lineno, repr(value)]))
            if event == "return":
                last.pop(frame, None)
        return local

    return subject.timed_own(local), events


def pysnooper(subject: Subject) -> Sample:
    from pysnooper import snoop

    return _decorated(subject, lambda: snoop(Sink(), depth=1))


def snoop(subject: Subject) -> Sample:
    from snoop import Config

    config = Config(out=Sink(), color=False)
    return _decorated(subject, lambda: config.snoop(depth=1))


def _decorated(subject: Subject, decorator: Callable[[], Any]) -> Sample:
    found = subject.namespace()
    for function in [value for value in list(found.values()) if callable(value)]:
        found[function.__name__] = decorator()(function)
    return subject.timed(found["program"]), None


def hunter(subject: Subject) -> Sample:
    from hunter import VarsSnooper, trace

    function = subject.namespace()["program"]
    action = VarsSnooper(stream=Sink(), force_colors=False)
    started = time.process_time()
    with trace(filename=subject.path, action=action):
        function(subject.size)
    return time.process_time() - started, None


def twin(subject: Subject) -> Sample:
    from cwm_tracer.capture.recorder import Recorder

    return _ours(subject, Recorder)


def native(subject: Subject) -> Sample:
    return _ours(subject, importlib.import_module(MODULES["native"]).Recorder)


def _ours(subject: Subject, recorder: Any) -> Sample:
    """Record as the tracer does, into shared memory; the process ends inside the call."""
    from cwm_tracer.capture.stream import Region, read_region

    descriptor = os.memfd_create("bench")
    os.ftruncate(descriptor, TRACE_BYTES)
    region = Region(descriptor, TRACE_BYTES)
    region.reset()
    child = os.fork()
    if child == 0:
        _record(subject, recorder, region)
    os.waitpid(child, 0)
    records = read_region(descriptor, TRACE_BYTES).split("\x1e")
    events = sum(record[:1] in {"c", "s", "l", "r", "y", "e"} for record in records)
    return float(records[-2].split("\x1f")[1]), events


def _record(subject: Subject, recorder: Any, region: Any) -> None:
    from cwm_tracer.capture.statements import Statements, find_entry
    from cwm_tracer.capture.values import Renderer

    def finish(outcome: str, reason: str) -> Any:
        region.write(f"x\x1f{time.process_time() - started}\x1f{outcome}{reason}\x1e")
        os._exit(0)

    tree = ast.parse(subject.source)
    made = recorder(
        region,
        Renderer(),
        Statements.of(tree),
        filename=subject.path,
        entry=find_entry(tree, "program"),
        steps=10**9,
        depth=1000,
        finish=finish,
    )
    function = subject.namespace()["program"]
    started = time.process_time()
    made.start()
    function(subject.size)


RECORDERS: dict[str, Callable[[Subject], Sample]] = {
    "untraced": untraced,
    "counted": counted,
    "empty": empty,
    "native": native,
    "twin": twin,
    "plain": plain,
    "pysnooper": pysnooper,
    "hunter": hunter,
    "snoop": snoop,
}
LABELS = {
    "empty": "empty callback",
    "native": "cwm-tracer, native",
    "twin": "cwm-tracer, pure Python",
    "plain": "`repr` of all locals, and the difference",
    "pysnooper": "PySnooper",
    "hunter": "hunter, VarsSnooper",
    "snoop": "snoop",
}
MODULES = {
    "native": "cwm_tracer.capture._native",
    "pysnooper": "pysnooper",
    "hunter": "hunter",
    "snoop": "snoop",
}
Results = dict[str, dict[str, dict[str, Any]]]


def available() -> list[str]:
    """Names of the recorders that can be imported here."""
    return [n for n in RECORDERS if n not in MODULES or importlib.util.find_spec(MODULES[n])]


def one(program: str, recorder: str, size: int) -> Sample:
    """Measure once, in this process."""
    with tempfile.TemporaryDirectory() as directory:
        return RECORDERS[recorder](Subject(program, size, directory))


def measure(recorders: list[str], repeats: int, sizes: dict[str, int]) -> Results:
    """Medians over interleaved repeats: seconds, events seen and true events per second."""
    samples: dict[tuple[str, str], list[Sample]] = {}
    for _ in range(repeats):
        for program in PROGRAMS:
            for recorder in recorders:
                words = ["--one", program, recorder, str(sizes[program])]
                command = [sys.executable, __file__, *words]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                samples.setdefault((program, recorder), []).append(json.loads(done.stdout))
    return {
        program: _summary({name: samples[program, name] for name in recorders})
        for program in PROGRAMS
    }


def _summary(samples: dict[str, list[Sample]]) -> dict[str, dict[str, Any]]:
    events = samples["counted"][0][1] or 0
    found: dict[str, dict[str, Any]] = {}
    for name, of_name in samples.items():
        seconds = statistics.median(each[0] for each in of_name)
        found[name] = {
            "seconds": seconds,
            "events": events,
            "seen": of_name[0][1],
            "events_per_second": events / seconds,
        }
    return found


def ratio(results: Results, program: str, recorder: str, to: str) -> float:
    """How many times the seconds of `to` a recorder needs less."""
    return results[program][to]["seconds"] / results[program][recorder]["seconds"]


def lost(results: Results) -> list[str]:
    """Say where a recorder saw another number of events than there were."""
    return [
        f"{recorder} saw {by[recorder]['seen']} of {by['counted']['seen']} events of {program}"
        for program, by in results.items()
        for recorder in COUNTING
        if recorder in by and by[recorder]["seen"] != by["counted"]["seen"]
    ]


def markdown(results: Results) -> str:
    """Three tables: speed, how many times faster than the peers, and slowdown."""
    names = [name for name in LABELS if name in next(iter(results.values()))]
    speed = {
        n: [f"{results[p][n]['events_per_second'] / 1000:,.0f}" for p in results] for n in names
    }
    against = {
        f"{n} / {to}": [f"{ratio(results, p, n, to):.1f}" for p in results]
        for n in OURS
        for to in ("pysnooper", "plain", "hunter", "snoop", "twin")
        if n != to and n in names and to in names
    }
    slower = {
        n: [f"{1 / ratio(results, p, n, 'untraced'):.1f}" for p in results]
        + [f"{1 / ratio(results, p, n, 'empty'):.2f}" for p in results]
        for n in names
    }
    titles = [TITLES[program] for program in results]
    return "\n\n".join(
        [
            _table(["thousand events per second", *titles], speed),
            _table(["times as fast", *titles], against),
            _table(
                ["slowdown", *titles, *(f"{t}, by that of an empty callback" for t in titles)],
                slower,
            ),
        ]
    )


def _table(heads: list[str], rows: dict[str, list[str]]) -> str:
    lines = [heads, ["---"] * len(heads)]
    lines += [[LABELS.get(name, name), *cells] for name, cells in rows.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def versions(recorders: list[str]) -> dict[str, str]:
    """Versions of the peers that took part."""
    from importlib.metadata import version

    return {name: version(name) for name in ("pysnooper", "hunter", "snoop") if name in recorders}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--only", nargs="+", choices=LABELS, help="recorders; all by default")
    parser.add_argument("--tiny", action="store_true", help="small programs: times mean nothing")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.one:
        program, recorder, size = options.one
        print(json.dumps(one(program, recorder, int(size))))
        return 0
    recorders = [n for n in available() if n not in LABELS or n in (options.only or LABELS)]
    recorders = [n for n in RECORDERS if n in {*recorders, "empty"}]
    results = measure(recorders, options.repeats, TINY if options.tiny else SIZES)
    about = {"python": platform.python_version(), "machine": platform.machine()}
    about |= versions(recorders)
    named = ", ".join(f"{name} {text}" for name, text in about.items())
    absent = [name for name in RECORDERS if name not in available()]
    print(f"{named}; medians of {options.repeats}\n\n{markdown(results)}")
    if absent:
        print(f"\nnot installed: {', '.join(absent)}")
    if options.json:
        report = {"about": about, "repeats": options.repeats, "results": results, "absent": absent}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    missing = lost(results)
    for line in missing:
        print(f"EVENTS LOST: {line}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
