"""Whether recorded traces are true: runs single lines again and compares what follows.

``python -m cwm_tracer.collect.repository.reexecute RUN --frames 1000`` samples line frames of a
run of `cwm trace tests`. Of each, the state is rebuilt from the recorded texts, the line is run in
it in the run's sandbox, and the state, value or exception that results is compared with the next
recorded one of the same call. Text does not tell whether two variables hold the same list: where
the line leads elsewhere with separate ones, shared ones are tried. Frames whose state cannot be
rebuilt, or does not determine what follows (an iterator's position), are counted by reason. Exit
code 1: some line led elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cwm_core.config import compose
from cwm_core.data.records import frame_to_json, frames_from_row
from cwm_core.data.shards import read_shards
from cwm_core.errors import CwmError, RunError
from cwm_core.trace.frames import START_OF_TRACE, Event, Frame
from cwm_tracer.collect.repository.config import TestsConfig
from cwm_tracer.collect.repository.session import Session

Job = dict[str, Any]
_BATCH = 200


def reexecute(out: Path, frames: int, seed: int = 0) -> dict[str, Any]:
    """Check line frames in random order until `frames` of them could be checked, or all are used.

    Returns counts, and up to 20 mismatches.

    Raises:
        CwmError: there is no such run, or its sandbox cannot be made.
    """
    config = compose("trace tests", TestsConfig, [f"out={out}"], out / "config.yaml")
    jobs = list(_jobs(out, config))
    random.Random(seed).shuffle(jobs)
    verdicts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    mismatches: list[dict[str, Any]] = []
    shared = 0
    archive = (out / "repository.tar").read_bytes()
    with contextlib.closing(Session(config, archive)) as session:
        for start in range(0, len(jobs), _BATCH):
            if verdicts["match"] + verdicts["mismatch"] >= frames:
                break
            for job, answer in _run(session, jobs[start : start + _BATCH]):
                if verdicts["match"] + verdicts["mismatch"] >= frames:
                    break
                verdicts[answer["verdict"]] += 1
                shared += answer["detail"] == "shared"
                if answer["verdict"] == "unknown":
                    reasons[answer["detail"]] += 1
                elif answer["verdict"] == "mismatch":
                    mismatches.append(_shown(job, answer["detail"]))
    return {
        "frames": len(jobs),
        "sampled": sum(verdicts.values()),
        "checked": verdicts["match"] + verdicts["mismatch"],
        "matched": verdicts["match"],
        "matched_with_shared_values": shared,
        "mismatched": verdicts["mismatch"],
        "not_rebuilt": verdicts["unknown"],
        "reasons": dict(reasons.most_common()),
        "mismatches": mismatches[:20],
    }


def steps(frames: tuple[Frame, ...]) -> Iterator[tuple[int, int, int]]:
    """Yield each line frame's index, that of the same call's next event, and the line before it.

    The line before is 0 for the first step of a call. Lines whose next event is not recorded are
    left out.
    """
    waiting: dict[int, tuple[int, int]] = {}
    lines: dict[tuple[int, str | None], int] = {}
    for index, frame in enumerate(frames):
        depth = frame.depth or 0
        call = depth, frame.function
        found = waiting.pop(depth, None)
        if frame.event is Event.CALL:
            if not frame.suspended:
                lines.pop(call, None)
            continue
        if found is not None:
            yield found[0], index, found[1]
        if frame.event is Event.LINE:
            waiting[depth] = index, lines.get(call, 0)
            lines[call] = frame.line_number or 0


def _jobs(out: Path, config: TestsConfig) -> Iterator[Job]:
    provenance = _provenance(out / "provenance.jsonl")
    for row in read_shards(out / "traces"):
        known = provenance.get(row["trace_id"])
        if known is None:
            continue
        context = row["context"].replace(f"  {START_OF_TRACE}", "")
        frames = frames_from_row(row["frames"])
        for index, following, before in steps(frames):
            frame = frames[index]
            yield {
                "trace_id": row["trace_id"],
                "context": context,
                "path": _path(known["files"], frame.line_number or 0),
                "module": known["module"],
                "function": frame.function,
                "line": frame.line_number,
                "before_line": before,
                "locals": dict(frame.locals or {}),
                "next": _event(frames[following]),
                "values": config.values.model_dump(),
            }


def _event(frame: Frame) -> dict[str, Any]:
    return {**frame_to_json(frame), "line": frame.line_number}


def _provenance(path: Path) -> dict[str, dict[str, Any]]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError as error:
        raise RunError(
            f"{path} cannot be read: {error.strerror}", "give a run directory of `cwm trace tests`"
        ) from error
    entries = [json.loads(line) for line in lines]
    return {entry["trace_id"]: entry for entry in entries}


def _path(parts: list[tuple[int, str]], line: int) -> str:
    return parts[bisect_right(parts, line, key=lambda part: part[0]) - 1][1]


def _run(session: Session, jobs: list[Job]) -> Iterable[tuple[Job, dict[str, str]]]:
    """Check a batch in the sandbox, whose answers are read as data."""
    lines = [json.dumps({**job, "id": number}) + "\n" for number, job in enumerate(jobs)]
    result = session.execute("reexecution", [], "".join(lines).encode("ascii"))
    answers = {}
    for line in result.stdout.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            answer = json.loads(line)
            answers[answer["id"]] = answer
    if not answers:
        raise RunError(
            "nothing can be run again in the sandbox:\n"
            f"{result.stderr[-1500:].decode('utf-8', 'replace')}"
        )
    lost = {"verdict": "unknown", "detail": "no answer from the sandbox"}
    return [(job, answers.get(number, lost)) for number, job in enumerate(jobs)]


def _shown(job: Job, difference: str) -> dict[str, Any]:
    source = job["context"].split("\n")[job["line"] - 1].strip()
    names = ("trace_id", "function", "line", "locals")
    return {**{name: job[name] for name in names}, "source": source, "difference": difference}


def main(arguments: list[str]) -> int:
    """Run the tool; see the module."""
    parser = argparse.ArgumentParser(prog="reexecute", description=__doc__)
    parser.add_argument("run", type=Path, help="run directory of `cwm trace tests`")
    parser.add_argument("--frames", type=int, default=1000, help="line frames to check")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        report: Mapping[str, Any] = reexecute(options.run, options.frames, options.seed)
    except CwmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report, indent=2))
    return 1 if report["mismatched"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
