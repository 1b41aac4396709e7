"""How long a client of `cwm debug` waits for a step in a long execution.

    uv run python tools/bench/debugger.py [--program calls] [--events 100000] [--positions 100]

Programs of that many events are recorded: many calls, deep recursion, one long loop. A client
(debugpy's messaging layer, over TCP) goes to places all over the execution, chosen at random, and
does every kind of step there. Each time is that of the request, of the event `stopped`, and of the
requests that an editor sends after it: threads, stack, scopes, and the variables of every scope.
Beside it stands what the debugger's process itself had of the processor: on a busy machine the rest
is waiting for a turn, and in any case the client's own work.
Then it times what goes through the whole execution, such as a condition that never holds.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dap_client import Client

from cwm_core.trace.frames import Event
from cwm_tracer import trace
from cwm_tracer.capture.limits import Limits

CALLS = """\
def part(n):
    total = 0
    for i in range(n):
        total += i
    return total


def whole(calls):
    seen = []
    for call in range(calls):
        seen.append(part(call % 20))
    return len(seen)
"""
RECURSION = """\
def down(n, path):
    path.append(n)
    below = down(n - 1, path) if n else 0
    return below + path.pop()


def whole(rounds):
    total = 0
    for round in range(rounds):
        total += down(450, [])
    return total
"""
LOOP = """\
def whole(count):
    last = [0] * 4
    total = 0
    for k in range(count):
        last[k % 4] = k
        total += sum(last)
    return total
"""
LIMITS = {"steps": 10_000_000, "trace_bytes": 1_000_000_000, "timeout_s": 120}
VERBS = ("next", "stepIn", "stepOut", "stepBack", "stepBack instruction")
SEARCHES = ("continue", "reverseContinue")
NEVER = "len(str({0})) > 99 and {0} == 1"


@dataclass(frozen=True)
class Program:
    """A program whose function `whole` makes about so many events per unit of its argument."""

    text: str
    events: float
    line: int
    """The line that runs most, and a local there."""
    name: str


class Step(NamedTuple):
    """The seconds that a client waits, and those that the debugger's process runs."""

    waited: float
    worked: float


PROGRAMS = {
    "calls": Program(CALLS, 24.7, 4, "total"),
    "recursion": Program(RECURSION, 5 * 451 + 2, 3, "n"),
    "loop": Program(LOOP, 3, 6, "total"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--program", choices=PROGRAMS, help="by default each in turn")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--positions", type=int, default=100, help="in each program")
    options = parser.parse_args()
    every: dict[str, list[Step]] = {}
    for name in [options.program] if options.program else PROGRAMS:
        with tempfile.TemporaryDirectory() as folder:
            times = Bench(name, options.events, Path(folder)).run(options.positions)
        tell(times)
        for verb, found in times.items():
            every.setdefault(verb, []).extend(found)
    if not options.program:
        tell(every)


def tell(steps: dict[str, list[Step]]) -> None:
    """Print a table of what each verb took, in milliseconds."""
    both = [each for found in steps.values() for each in found]
    print(f"\n| {len(both)} steps, ms | median | 95 % | 99 % | most | CPU, median | CPU, most |")
    print("|---" * 7 + "|")
    for verb, found in steps.items():
        print(row(verb, found))
    print(row("all", both), flush=True)


def row(name: str, steps: list[Step]) -> str:
    """Write the order statistics of some steps."""
    waited, worked = (sorted(1000 * each for each in column) for column in zip(*steps))
    late = (waited[int(share * (len(waited) - 1))] for share in (0.95, 0.99, 1))
    figures = (statistics.median(waited), *late, statistics.median(worked), worked[-1])
    return f"| {name} | {' | '.join(f'{each:.1f}' for each in figures)} |"


class Bench:
    """One program, one server, one client."""

    def __init__(self, name: str, events: int, folder: Path) -> None:
        self._program = PROGRAMS[name]
        path = folder / "program.py"
        path.write_text(self._program.text)
        given = str(round(events / self._program.events))
        record = trace(self._program.text, "whole", given, limits=Limits(**LIMITS))
        frames = record.trace.frames
        self._lines = [frame.line_number for frame in frames if frame.event is Event.LINE]
        limits = [f"limits.{key}={value}" for key, value in LIMITS.items()]
        self._client = Client([f"{path}:whole", "--input", given, *limits], tcp=True)
        loading, self._source = timed(self._client.launch)
        print(
            f"{name}: {len(frames)} events, recorded and loaded in {loading:.1f} s, "
            f"{memory_mib(self._client.process.pid)} MiB",
            flush=True,
        )

    def run(self, positions: int) -> dict[str, list[Step]]:
        """Return the steps of every verb at random places; then tell those of long searches."""
        random.seed(0)
        times: dict[str, list[Step]] = {verb: [] for verb in (*VERBS, *SEARCHES)}
        for at in random.sample(range(len(self._lines)), positions):
            line = self._go(at)
            for verb in VERBS:
                times[verb].append(self._step(verb))
            self._stop_at({"line": line})
            for verb in SEARCHES:
                times[verb].append(self._step(verb))
        self._search()
        self._client.close()
        return times

    def _go(self, at: int) -> int:
        """Go to one of the line events; returns its line."""
        line = self._lines[at]
        assert line is not None
        hit = Counter(self._lines[: at + 1])[line]
        self._stop_at({"line": line, "hitCondition": str(hit)})
        self._client.ask("restart")
        self._client.wait_for("stopped")
        self._client.move("continue")
        self._stop_at()
        return line

    def _stop_at(self, *points: dict[str, Any]) -> None:
        self._client.ask("setBreakpoints", source=self._source, breakpoints=list(points))

    def _step(self, verb: str) -> Step:
        """Do a verb and look at what there is to see after it."""
        command, _, granularity = verb.partition(" ")
        more = {"granularity": granularity} if granularity else {}

        def step() -> None:
            self._client.move(command, **more)
            self._client.ask("threads")
            self._client.scopes()

        before = processor_s(self._client.process.pid)
        waited = timed(step)[0]
        return Step(waited, processor_s(self._client.process.pid) - before)

    def _search(self) -> None:
        """Time what has to look at very many events."""
        line, name = self._program.line, self._program.name
        hits = Counter(self._lines)[line]
        points = {
            f"a condition that never holds, {hits} times": {"condition": NEVER.format(name)},
            f"a hit count that is never reached, {hits} times": {"hitCondition": "100000000"},
            f"a log message, {hits} times": {"logMessage": f"{{{name}}} of {{{name} * 2}}"},
        }
        for what, point in points.items():
            self._stop_at({"line": line, **point})
            print(f"  {what}: {self._through():.0f} ms")
        self._stop_at()
        self._client.ask("setDataBreakpoints", breakpoints=[{"dataId": "nothing"}])
        print(f"  a watched local that never changes: {self._through():.0f} ms")
        self._client.ask("setDataBreakpoints", breakpoints=[])
        print(f"  nothing to stop at: {self._through():.0f} ms")

    def _through(self) -> float:
        """Return the milliseconds from the first event to the last."""
        self._client.ask("restart")
        self._client.wait_for("stopped")
        return 1000 * timed(lambda: self._client.move("continue"))[0]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that it takes, and its result."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def processor_s(pid: int) -> float:
    """Return the seconds that the main thread of a process has run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def memory_mib(pid: int) -> int:
    """Return the resident memory of a process, at its peak."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


if __name__ == "__main__":
    main()
