"""Events per second of the tracer, PySnooper and a plain `settrace` recorder, on three programs.

    uv run --with pysnooper python tools/bench/bench_tracer.py [--repeats 5] [--json FILE]

Each repeat runs in a process of its own. A recorder's events are those that it saw of the program's
own frames; a callback that only counts gives the true number, which ours must equal. Times are the
processor's, of the traced call alone: neither start-up nor other load is in them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

DP = """
def program():
    a = [(i * 7) % 10 for i in range(100)]
    b = [(i * 3) % 10 for i in range(100)]
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
STR = """
def program():
    words = "the quick brown fox jumps over the lazy dog while the cat sleeps".split()
    counts = {}
    longest = ""
    text = ""
    for i in range(7000):
        word = words[(i * 5) % len(words)]
        counts[word] = counts.get(word, 0) + 1
        if len(word) > len(longest):
            longest = word
        text = (text + word[0])[-40:]
    return counts, longest, text
"""
BACK = """
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

def program():
    found = []
    place(7, [], found)
    return len(found)
"""
PROGRAMS = {"dp": DP, "str": STR, "back": BACK}
FILENAME = "<program>"
TRACE_BYTES = 1 << 30


def namespace(source: str) -> dict[str, Any]:
    found: dict[str, Any] = {"__name__": "program"}
    exec(compile(source, FILENAME, "exec"), found)
    return found


def own(frame: FrameType) -> bool:
    inlined = frame.f_code.co_name in ("<listcomp>", "<setcomp>", "<dictcomp>")
    return frame.f_code.co_filename == FILENAME and not inlined


def only_own(local: Callable[..., Any]) -> Callable[..., Any]:
    return lambda frame, event, arg: local(frame, event, arg) if own(frame) else None


def counting(source: str) -> tuple[float, int]:
    """The true number of events, and the time that an almost empty callback costs."""
    events = 0

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal events
        events += 1
        return local

    return timed(source, only_own(local)), events


def untraced(source: str) -> tuple[float, int]:
    return timed(source, None), 0


def plain(source: str) -> tuple[float, int]:
    """A recorder of 20 lines: the `repr` of all locals, and the difference to the last ones."""
    events = 0
    out: list[str] = []
    last: dict[FrameType, dict[str, str]] = {}

    def local(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal events
        events += 1
        if event in ("call", "line"):
            texts = {name: repr(value) for name, value in frame.f_locals.items()}
            before = last.get(frame, {})
            changed = {name: text for name, text in texts.items() if before.get(name) != text}
            last[frame] = texts
            out.append(json.dumps([event, frame.f_lineno, changed]))
        else:
            value = arg if event == "return" else arg[1]
            out.append(json.dumps([event, frame.f_lineno, repr(value)]))
            if event == "return":
                last.pop(frame, None)
        return local

    return timed(source, only_own(local)), events


def timed(source: str, callback: Any) -> float:
    function = namespace(source)["program"]
    sys.settrace(callback)
    started = time.process_time()
    try:
        function()
        return time.process_time() - started
    finally:
        sys.settrace(None)


def pysnooper(source: str) -> tuple[float, int]:
    """PySnooper writing to a stream that keeps nothing."""
    from pysnooper import snoop

    class Sink(io.TextIOBase):
        def write(self, text: str) -> int:
            return len(text)

    _, events = counting(source)
    found = namespace(source)
    functions = [value for value in list(found.values()) if callable(value)]
    for function in functions:
        found[function.__name__] = snoop(Sink(), depth=1)(function)
    started = time.process_time()
    found["program"]()
    return time.process_time() - started, events


def ours(source: str) -> tuple[float, int]:
    """Our recorder as the tracer runs it, into shared memory; the process ends inside the call."""
    from cwm_tracer.capture.stream import Region, read_region

    descriptor = os.memfd_create("bench")
    os.ftruncate(descriptor, TRACE_BYTES)
    region = Region(descriptor, TRACE_BYTES)
    child = os.fork()
    if child == 0:
        _record(source, region)
    os.waitpid(child, 0)
    records = read_region(descriptor, TRACE_BYTES).split("\x1e")
    events = sum(record[:1] in {"c", "s", "l", "r", "y", "e"} for record in records)
    return float(records[-2].split("\x1f")[1]), events


def _record(source: str, region: Any) -> None:
    import ast

    from cwm_tracer.capture.recorder import Recorder
    from cwm_tracer.capture.statements import Statements, find_entry
    from cwm_tracer.capture.values import Renderer

    def finish(outcome: str, reason: str) -> Any:
        region.write(f"x\x1f{time.process_time() - started}\x1f{outcome}{reason}\x1e")
        os._exit(0)

    tree = ast.parse(source)
    recorder = Recorder(
        region,
        Renderer(),
        Statements.of(tree),
        filename=FILENAME,
        entry=find_entry(tree, "program"),
        steps=10**9,
        depth=1000,
        finish=finish,
    )
    function = namespace(source)["program"]
    recorder.start()
    started = time.process_time()
    function()


RECORDERS: dict[str, Callable[[str], tuple[float, int]]] = {
    "untraced": untraced,
    "counting": counting,
    "ours": ours,
    "plain": plain,
    "pysnooper": pysnooper,
}


def measure(repeats: int) -> dict[str, dict[str, dict[str, float]]]:
    """Medians over interleaved repeats: seconds and events, by program and recorder."""
    samples: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for _ in range(repeats):
        for program in PROGRAMS:
            for recorder in RECORDERS:
                command = [sys.executable, __file__, "--one", program, recorder]
                line = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                seconds, events = json.loads(line)
                samples.setdefault((program, recorder), []).append((seconds, events))
    return {
        program: {
            recorder: {
                "seconds": statistics.median(s for s, _ in samples[program, recorder]),
                "events": samples[program, recorder][0][1],
            }
            for recorder in RECORDERS
        }
        for program in PROGRAMS
    }


def table(results: dict[str, dict[str, dict[str, float]]]) -> str:
    heads = [
        "recorder",
        *(f"{p}: k events/s" for p in results),
        *(f"{p}: slowdown" for p in results),
    ]
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for recorder in ("counting", "ours", "plain", "pysnooper"):
        cells = [recorder]
        for by_recorder in results.values():
            found = by_recorder[recorder]
            cells.append(f"{found['events'] / found['seconds'] / 1000:.0f}")
        for by_recorder in results.values():
            cells.append(
                f"{by_recorder[recorder]['seconds'] / by_recorder['untraced']['seconds']:.0f}x"
            )
        rows.append("| " + " | ".join(cells) + " |")
    ratios = [f"{r['pysnooper']['seconds'] / r['ours']['seconds']:.1f}" for r in results.values()]
    return "\n".join([*rows, "", f"ours is {', '.join(ratios)} times as fast as PySnooper"])


def lost(results: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Programs of which ours recorded another number of events than there were."""
    return [
        f"{program}: {by['ours']['events']} of {by['counting']['events']} events"
        for program, by in results.items()
        if by["ours"]["events"] != by["counting"]["events"]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--one", nargs=2, metavar=("PROGRAM", "RECORDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        program, recorder = options.one
        print(json.dumps(RECORDERS[recorder](PROGRAMS[program])))
        return 0
    results = measure(options.repeats)
    print(f"Python {sys.version.split()[0]}, medians of {options.repeats}\n\n{table(results)}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    missing = lost(results)
    for line in missing:
        print(f"EVENTS LOST: {line}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
