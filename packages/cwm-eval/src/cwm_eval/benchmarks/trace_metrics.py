"""Metrics of trace prediction, from samples to estimates and breakdowns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cwm_eval.benchmarks.base import MetricInfo, Summary
from cwm_eval.benchmarks.teacher_forced import FrameScore
from cwm_eval.samples import Sample
from cwm_eval.statistics import Estimate, mean, proportion

INFOS: dict[str, MetricInfo] = {
    "next_frame": MetricInfo(
        "Next frame",
        "Teacher-forced: every token of a frame is the model's first choice, given the true "
        "frames before it.",
    ),
    "state": MetricInfo("State", "Teacher-forced: all tokens of a frame's local variables."),
    "action": MetricInfo("Action", "Teacher-forced: the event and the source line run next."),
    "return_value": MetricInfo("Return value", "Teacher-forced: the value of a return frame."),
    "exception_value": MetricInfo(
        "Exception value", "Teacher-forced: the value of an exception frame."
    ),
    "token": MetricInfo("Token", "Teacher-forced: single tokens after the entry's call frame."),
    "loss": MetricInfo(
        "Loss", "Mean negative log-likelihood per token after the entry's call frame.", "nats"
    ),
    "trace_teacher_forced": MetricInfo(
        "Whole trace, teacher-forced", "Every frame of a trace is exact."
    ),
    "trace_exact": MetricInfo(
        "Whole trace",
        "Free-running: the model writes the execution from the entry's call frame to the end, and "
        "every frame is right.",
    ),
    "output": MetricInfo(
        "Output",
        "Free-running: the final return value is right, for calls that return (as CRUXEval-O).",
    ),
    "valid": MetricInfo(
        "Valid format", "Free-running: the text is complete and follows the wire format strictly."
    ),
    "prefix": MetricInfo(
        "Right before the first mistake",
        "Free-running: share of a trace's frames that come before the first wrong one.",
    ),
}

_FRAME_METRICS: dict[str, Callable[[FrameScore], bool | None]] = {
    "next_frame": lambda frame: frame.exact,
    "state": lambda frame: frame.state,
    "action": lambda frame: frame.action,
    "return_value": lambda frame: frame.value if frame.event == "return" else None,
    "exception_value": lambda frame: frame.value if frame.event == "exception" else None,
}
_TRACE_METRICS: dict[str, Callable[[_Trace], bool | None]] = {
    "trace_teacher_forced": lambda trace: trace.all_exact,
    "trace_exact": lambda trace: trace.free("exact"),
    "output": lambda trace: trace.free("output") if trace.returned else None,
    "valid": lambda trace: trace.free("valid"),
}
_SHOWN_BY_FRAME = ("next_frame", "state", "action")
_SHOWN_BY_TRACE = ("trace_exact", "output")


@dataclass(frozen=True, slots=True)
class _Trace:
    program: str
    metadata: Mapping[str, Any]
    result: Mapping[str, Any]
    frames: tuple[FrameScore, ...]

    @property
    def all_exact(self) -> bool | None:
        return all(frame.exact for frame in self.frames) if self.frames else None

    @property
    def returned(self) -> bool:
        return bool(self.metadata.get("outcome") == "returned")

    def free(self, key: str) -> Any:
        free = self.result["free"]
        return None if free is None else free[key]


def summarise(samples: Iterable[Sample]) -> Summary:
    """Return metrics, breakdowns and counts; intervals resample programs, seeded."""
    traces, counts = _collect(samples)
    by_frame = list(_frame_units(traces))
    metrics = {
        **_estimate_frames(by_frame, tuple(_FRAME_METRICS)),
        **_estimate_sums(traces),
        **_estimate_traces(traces, tuple(_TRACE_METRICS)),
        **_estimate_prefix(traces),
    }
    order = [name for name in INFOS if metrics[name].count]
    return Summary(
        {name: metrics[name] for name in order},
        {name: found for name, found in _breakdowns(traces, by_frame) if found},
        {**counts, "frames": len(by_frame), "programs": len({t.program for t in traces})},
    )


def _collect(samples: Iterable[Sample]) -> tuple[list[_Trace], Counter[str]]:
    traces, counts = [], Counter({"traces": 0, "free_running": 0, "hit_token_limit": 0})
    for sample in samples:
        result = sample.result
        if result is None:
            continue
        teacher = result["teacher"]
        rows = teacher["frames"] if teacher else ()
        frames = tuple(FrameScore.from_row(row) for row in rows)
        program = sample.metadata.get("program_id", sample.task_id)
        traces.append(_Trace(program, sample.metadata, result, frames))
        counts["traces"] += 1
        counts["free_running"] += result["free"] is not None
        counts["hit_token_limit"] += bool(result["free"]) and result["free"]["finish"] == "length"
        counts["too_long_for_free_running"] += result["no_free_run"] == "too_long"
        counts["scored_tokens"] += result["new_tokens"] if teacher else 0
        counts["generated_tokens"] += len(result["free"]["ids"]) if result["free"] else 0
    return traces, counts


@dataclass(frozen=True, slots=True)
class _FrameUnit:
    trace: _Trace
    step: int
    score: FrameScore


def _frame_units(traces: Iterable[_Trace]) -> Iterator[_FrameUnit]:
    for trace in traces:
        for step, score in enumerate(trace.frames, start=1):
            yield _FrameUnit(trace, step, score)


def _estimate_frames(units: Sequence[_FrameUnit], names: Iterable[str]) -> dict[str, Estimate]:
    estimates = {}
    for name in names:
        judge = _FRAME_METRICS[name]
        found = [(judge(unit.score), unit.trace.program) for unit in units]
        estimates[name] = _proportion(found)
    return estimates


def _estimate_traces(traces: Sequence[_Trace], names: Iterable[str]) -> dict[str, Estimate]:
    estimates = {}
    for name in names:
        judge = _TRACE_METRICS[name]
        estimates[name] = _proportion([(judge(trace), trace.program) for trace in traces])
    return estimates


def _proportion(found: list[tuple[bool | None, str]]) -> Estimate:
    judged = [(bool(right), program) for right, program in found if right is not None]
    return proportion([right for right, _ in judged], [program for _, program in judged])


def _estimate_sums(traces: Sequence[_Trace]) -> dict[str, Estimate]:
    scored = [trace for trace in traces if trace.frames]
    programs = [trace.program for trace in scored]
    tokens = [trace.result["new_tokens"] for trace in scored]
    right = [sum(frame.right_tokens for frame in trace.frames) for trace in scored]
    nll = [trace.result["teacher"]["nll"] for trace in scored]
    return {"token": mean(right, tokens, programs, share=True), "loss": mean(nll, tokens, programs)}


def _estimate_prefix(traces: Sequence[_Trace]) -> dict[str, Estimate]:
    free = [trace for trace in traces if trace.result["free"] is not None]
    shares = [trace.free("prefix") / (len(trace.result["truth"]) - 1) for trace in free]
    programs = [trace.program for trace in free]
    return {"prefix": mean(shares, [1] * len(free), programs, share=True)}


# Breakdowns

_Groups = dict[str, dict[str, Estimate]]


def _breakdowns(
    traces: Sequence[_Trace], units: Sequence[_FrameUnit]
) -> Iterator[tuple[str, _Groups]]:
    yield "event", _by_frames(units, lambda unit: [unit.score.event], _by_count)
    yield "step", _by_frames(units, lambda unit: [_bucket(unit.step)], _by_number)
    for name, key, order in _TRACE_DIMENSIONS:
        frames = _by_frames(units, _through_trace(key), order)
        whole = _by_traces(traces, key, order)
        groups = dict.fromkeys([*frames, *whole])
        yield name, {group: frames.get(group, {}) | whole.get(group, {}) for group in groups}


def _through_trace(key: Callable[[_Trace], list[str]]) -> Callable[[_FrameUnit], list[str]]:
    return lambda unit: key(unit.trace)


def _constructs(trace: _Trace) -> list[str]:
    return list(trace.metadata.get("constructs") or ())


def _difficulty(trace: _Trace) -> list[str]:
    level = trace.metadata.get("difficulty")
    return [] if level is None else [str(level)]


def _length(trace: _Trace) -> list[str]:
    return [_bucket(len(trace.result["truth"]) - 1)]


def _bucket(number: int) -> str:
    """Name the range of a count from 1 on: 1, 2, 3-4, 5-8, 9-16 and so on, doubling."""
    high = 1
    while high < number:
        high *= 2
    low = high // 2 + 1
    return str(high) if low >= high else f"{low}–{high}"


def _by_number(groups: Mapping[str, Sequence[Any]]) -> list[str]:
    return sorted(groups, key=lambda name: int(name.split("–")[0]))


def _by_count(groups: Mapping[str, Sequence[Any]]) -> list[str]:
    return sorted(groups, key=lambda name: (-len(groups[name]), name))


_TRACE_DIMENSIONS: tuple[
    tuple[str, Callable[[_Trace], list[str]], Callable[[Mapping[str, Sequence[Any]]], list[str]]],
    ...,
] = (
    ("construct", _constructs, _by_count),
    ("difficulty", _difficulty, _by_number),
    ("length", _length, _by_number),
    ("origin", lambda trace: [str(trace.metadata.get("origin")).partition(":")[0]], _by_count),
)


def _by_frames(
    units: Sequence[_FrameUnit],
    key: Callable[[_FrameUnit], list[str]],
    order: Callable[[Mapping[str, Sequence[Any]]], list[str]],
) -> _Groups:
    groups = _grouped(units, key)
    return {
        name: _nonempty(_estimate_frames(groups[name], _SHOWN_BY_FRAME)) for name in order(groups)
    }


def _by_traces(
    traces: Sequence[_Trace],
    key: Callable[[_Trace], list[str]],
    order: Callable[[Mapping[str, Sequence[Any]]], list[str]],
) -> _Groups:
    groups = _grouped(traces, key)
    return {
        name: _nonempty(_estimate_traces(groups[name], _SHOWN_BY_TRACE)) for name in order(groups)
    }


def _grouped(items: Sequence[Any], key: Callable[[Any], list[str]]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for item in items:
        for name in key(item):
            groups.setdefault(name, []).append(item)
    return groups


def _nonempty(estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    return {name: estimate for name, estimate in estimates.items() if estimate.count}
