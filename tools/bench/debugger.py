"""How long a client of `cwm debug --dap` waits for a step in a long execution.

    uv run python tools/bench/debugger.py [--events 100000] [--steps 40]

A program of that many events is recorded, and a client (debugpy's messaging layer) steps through it
from places all over the execution: each time is that of the request, of the event `stopped`, and of
the requests for stack, scopes and variables that an editor sends after it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from dap_client import Client

PROGRAM = """\
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
EVENTS_PER_CALL = 24.7
VERBS = ("next", "stepIn", "stepOut", "stepBack", "stepBack instruction")


def timed(client: Client, verb: str) -> float:
    """Return the seconds that a verb and the look after it take."""
    command, _, granularity = verb.partition(" ")
    began = time.perf_counter()
    client.move(command, **({"granularity": granularity} if granularity else {}))
    client.scopes()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=40, help="of each kind")
    options = parser.parse_args()
    calls = int(options.events / EVENTS_PER_CALL)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.py"
        path.write_text(PROGRAM)
        measure(f"{path}:whole", str(calls), options.steps)


def measure(target: str, input: str, steps: int) -> None:
    limits = ["limits.steps=10000000", "limits.trace_bytes=1000000000", "limits.timeout_s=120"]
    client = Client([target, "--input", input, *limits])
    source = client.launch()
    times: dict[str, list[float]] = {verb: [] for verb in VERBS}
    for number in range(steps):
        hit = str(1 + number * int(input) // steps)
        points = [{"line": 11, "hitCondition": hit}]
        client.ask("restart")
        client.wait_for("stopped")
        client.ask("setBreakpoints", source=source, breakpoints=points)
        client.move("continue")
        client.ask("setBreakpoints", source=source, breakpoints=[])
        for verb in VERBS:
            times[verb].append(timed(client, verb))
    began = time.perf_counter()
    client.move("continue")
    to_end = time.perf_counter() - began
    client.ask("disconnect")
    print(f"| {steps} steps of each kind, ms | median | 95 % | most |\n| --- | --- | --- | --- |")
    for verb, found in times.items():
        ordered = sorted(1000 * each for each in found)
        late = ordered[int(0.95 * (len(ordered) - 1))]
        print(f"| {verb} | {statistics.median(ordered):.1f} | {late:.1f} | {ordered[-1]:.1f} |")
    print(
        f"\ncontinuing from near the end to the end, without a breakpoint: {1000 * to_end:.0f} ms"
    )


if __name__ == "__main__":
    main()
