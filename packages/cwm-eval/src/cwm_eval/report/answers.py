"""Answers to questions as a report shows them, and the clusters of those that are wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cwm_eval.samples import Sample

_LONG = 6000
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Wrong answers that fail alike: the same outcome and the same kind of message."""

    name: str
    count: int
    examples: tuple[str, ...]


def has_answers(sample: Sample) -> bool:
    """Whether a sample is an answer to a question."""
    return sample.result is not None and "outcome" in sample.result


def cluster_of(sample: Sample) -> str:
    """Return the name of the cluster that an answer falls into; ``right`` for a right one."""
    result: Any = sample.result
    if result["right"]:
        return "right"
    if result["finish"] == "length":
        return "cut off by the token limit"
    outcome = str(result["outcome"]).replace("_", " ")
    detail = _shape(str(result.get("detail") or ""))
    return f"{outcome}: {detail}" if detail else outcome


def _shape(detail: str) -> str:
    """Return a message without its names and numbers."""
    line = detail.strip().splitlines()[0] if detail.strip() else ""
    return _NUMBERS.sub("N", _QUOTED.sub("'...'", line))[:80]


def clusters(samples: Sequence[Sample], most: int = 12) -> list[Cluster]:
    """Return the largest clusters of wrong answers, the largest first."""
    found: dict[str, list[str]] = {}
    for sample in samples:
        if has_answers(sample) and (name := cluster_of(sample)) != "right":
            found.setdefault(name, []).append(sample.task_id)
    ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [Cluster(name, len(ids), tuple(ids[:5])) for name, ids in ordered[:most]]


def chosen(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Choose answers for a reader: one of each cluster in turn, right ones among them."""
    pools: dict[str, list[Sample]] = {}
    for sample in samples:
        if has_answers(sample):
            pools.setdefault(cluster_of(sample), []).append(sample)
    picked: list[Sample] = []
    while len(picked) < count and any(pools.values()):
        for pool in pools.values():
            if pool and len(picked) < count:
                picked.append(pool.pop(0))
    return picked


def answer_view(sample: Sample, run: int) -> dict[str, Any]:
    """Return what the page shows of an answer."""
    result: Any = sample.result
    question, text = _cut(str(result["question"])), _cut(str(result["text"]))
    known = {"problem", "sample"}
    tags = [f"{k} {v}" for k, v in sample.metadata.items() if k not in known and v is not None]
    return {
        "id": sample.task_id,
        "run": run,
        "verdict": "right" if result["right"] else "wrong",
        "cluster": cluster_of(sample),
        "question": question,
        "text": text,
        "answer": _cut(str(result["answer"])),
        "truth": _cut(str(result["truth"])),
        "detail": str(result.get("detail") or ""),
        "tags": [tag for tag in tags if len(tag) < 60],
        "tokens": result["new_tokens"],
        "finish": result["finish"],
        "search": f"{sample.task_id} {question} {text}".lower()[:_LONG],
    }


def _cut(text: str) -> str:
    if len(text) <= _LONG:
        return text
    half = _LONG // 2
    return f"{text[:half]}\n[... {len(text) - _LONG:,} characters ...]\n{text[-half:]}"
