"""Which samples a report shows, and what they are called there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cwm_eval.samples import Sample

RIGHT, NEAR, WRONG = "right", "nearly right", "wrong"
_NEAR_SHARE = 0.5


def generated(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples that have a free-running prediction."""
    return [s for s in samples if s.result is not None and s.result.get("free") is not None]


def closeness(sample: Sample) -> float:
    """Share of true frames (0 to 1) that the prediction has right at their place."""
    assert sample.result is not None
    truth, free = sample.result["truth"][1:], sample.result["free"]["frames"]
    same = sum(list(true) == list(guess) for true, guess in zip(truth, free))
    return same / max(len(truth), len(free), 1)


def verdict(sample: Sample) -> str:
    """`right` for an exact trace, `nearly right` when half of its frames or more are right."""
    assert sample.result is not None
    if sample.result["free"]["exact"]:
        return RIGHT
    return NEAR if closeness(sample) >= _NEAR_SHARE else WRONG


def choose(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Choose samples for a reader: verdicts in turn, each with programs of many constructs.

    The order within a verdict prefers traces that fit a screen and constructs not shown yet.
    """
    pools: dict[str, list[Sample]] = {RIGHT: [], NEAR: [], WRONG: []}
    for sample in generated(samples):
        pools[verdict(sample)].append(sample)
    chosen: list[Sample] = []
    seen: set[str] = set()
    while len(chosen) < count and any(pools.values()):
        for pool in pools.values():
            if pool and len(chosen) < count:
                best = max(pool, key=lambda sample: _interest(sample, seen))
                pool.remove(best)
                chosen.append(best)
                seen.update(best.metadata.get("constructs") or ())
    return chosen


def worked_examples(samples: Sequence[Sample]) -> list[tuple[str, Sample]]:
    """Return up to three (verdict, sample): one right, the best of the others, the worst."""
    pool = generated(samples)
    right = [s for s in pool if verdict(s) == RIGHT]
    others = sorted((s for s in pool if verdict(s) != RIGHT), key=_by_closeness)
    examples = []
    if right:
        examples.append((RIGHT, max(right, key=lambda s: _interest(s, set()))))
    if others:
        examples.append((NEAR if verdict(others[-1]) == NEAR else WRONG, others[-1]))
    if len(others) > 1:
        examples.append((verdict(others[0]), others[0]))
    return examples


def _by_closeness(sample: Sample) -> tuple[float, int, str]:
    return closeness(sample), -_misfit(sample), sample.task_id


def _interest(sample: Sample, seen: set[str]) -> tuple[int, int, str]:
    new = len(set(sample.metadata.get("constructs") or ()) - seen)
    return -_misfit(sample), new, sample.task_id


def _misfit(sample: Sample) -> int:
    """How far a trace is from 8 to 24 frames, which tell something and fit a screen."""
    result: Any = sample.result
    frames = len(result["truth"])
    return max(8 - frames, 0) // 2 + max(frames - 24, 0) // 4
