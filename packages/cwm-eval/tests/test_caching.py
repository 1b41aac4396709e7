from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from cwm_core.engine.base import Completion, SamplingParams
from cwm_eval.caching import CachedEngine, Completions
from cwm_eval.engines import EmptyEngine

GREEDY = SamplingParams()


@dataclass
class Counting(EmptyEngine):
    asked: int = 0
    fails: bool = False

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        self.asked += 1
        await asyncio.sleep(0)
        if self.fails:
            raise ConnectionError("gone")
        return Completion((prompt_ids[0], self.asked), (-0.1, -0.2), "stop")


def test_equal_requests_are_asked_once_across_runs(tmp_path: Path) -> None:
    async def ask(engine: Counting, identity: str, *requests: tuple[int, SamplingParams]) -> list:
        with Completions(tmp_path / "c.jsonl") as kept:
            cached = CachedEngine(engine, identity, kept)
            found = await asyncio.gather(*(cached.generate([n], p) for n, p in requests))
            return [*found, cached.hits]

    engine = Counting()
    first = asyncio.run(ask(engine, "e", (1, GREEDY), (1, GREEDY), (2, GREEDY)))
    assert engine.asked == 2 and first[0] == first[1] != first[2] and first[3] == 1
    again = asyncio.run(ask(engine, "e", (1, GREEDY), (2, GREEDY)))
    assert again == [first[0], first[2], 2] and engine.asked == 2
    asyncio.run(ask(engine, "other", (1, GREEDY)))
    asyncio.run(ask(engine, "e", (1, SamplingParams(max_tokens=7))))
    assert engine.asked == 4
    sampled = SamplingParams(temperature=1.0)
    asyncio.run(ask(engine, "e", (1, sampled), (1, sampled)))
    assert engine.asked == 6  # without a seed, asking again means something else
    seeded = SamplingParams(temperature=1.0, seed=3)
    asyncio.run(ask(engine, "e", (1, seeded), (1, seeded)))
    assert engine.asked == 7


def test_failures_are_not_kept_and_half_lines_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"

    async def ask(engine: Counting) -> Completion:
        with Completions(path) as kept:
            return await CachedEngine(engine, "e", kept).generate([1], GREEDY)

    with pytest.raises(ConnectionError):
        asyncio.run(ask(Counting(fails=True)))
    assert asyncio.run(ask(Counting())).token_ids == (1, 1)
    path.write_bytes(path.read_bytes()[:-5])
    engine = Counting(asked=10)
    assert asyncio.run(ask(engine)).token_ids == (1, 11)
