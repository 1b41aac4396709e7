"""Conformance suite of engines: subclass it, give it an engine, and pytest runs it.

::

    class TestMine(EngineConformance):
        @pytest.fixture
        def engine(self) -> Engine:
            return MyConfig(path=...).build()
"""

from __future__ import annotations

import asyncio
import math

import pytest

from cwm_core.engine.base import Completion, Engine, SamplingParams, Scores
from cwm_core.env.concurrency import run_sync


class EngineConformance:
    """What rollouts, evaluation and training rely on in every engine."""

    prompt_ids: tuple[int, ...] = (1, 2, 3)
    """A prompt that the engine continues greedily by at least four tokens."""
    tolerance = 1e-3
    """How far log-probabilities of the same tokens may differ between generating and scoring."""

    @pytest.fixture
    def engine(self) -> Engine:
        """Return the engine under test."""
        raise NotImplementedError("override the fixture `engine`")

    def generate(self, engine: Engine, params: SamplingParams) -> Completion:
        """Generate from `prompt_ids`."""

        async def once() -> Completion:
            return await engine.generate(self.prompt_ids, params)

        return run_sync(once())

    def test_it_is_an_engine(self, engine: Engine) -> None:
        """The protocol's methods are there."""
        assert isinstance(engine, Engine)

    @pytest.mark.parametrize("max_tokens", [1, 4])
    def test_length(self, engine: Engine, max_tokens: int) -> None:
        """Exactly `max_tokens` tokens without a stop token, one log-probability each."""
        made = self.generate(engine, SamplingParams(max_tokens=max_tokens))
        assert len(made.token_ids) == len(made.logprobs) == max_tokens
        assert made.finish_reason == "length"
        assert all(math.isfinite(value) and value <= 0 for value in made.logprobs)

    def test_stop_token_is_kept_and_last(self, engine: Engine) -> None:
        """Generation ends after a stop token."""
        free = self.generate(engine, SamplingParams(max_tokens=4)).token_ids
        stop = free[1]
        made = self.generate(engine, SamplingParams(max_tokens=4, stop_token_ids=(stop,)))
        assert made.finish_reason == "stop"
        assert made.token_ids == free[: free.index(stop) + 1]

    def test_greedy_decoding_repeats_itself(self, engine: Engine) -> None:
        """Temperature 0 is deterministic, alone and among concurrent calls."""

        async def three() -> list[Completion]:
            params = SamplingParams(max_tokens=4)
            calls = [engine.generate(self.prompt_ids, params) for _ in range(3)]
            return list(await asyncio.gather(*calls))

        alone = self.generate(engine, SamplingParams(max_tokens=4)).token_ids
        assert [made.token_ids for made in run_sync(three())] == [alone] * 3

    def test_scores_agree_with_generation(self, engine: Engine) -> None:
        """Greedy tokens are the argmax under teacher forcing, at the same log-probability."""
        made = self.generate(engine, SamplingParams(max_tokens=4))

        async def score() -> Scores:
            return await engine.score([*self.prompt_ids, *made.token_ids])

        scores = run_sync(score())
        start = len(self.prompt_ids)
        assert len(scores.logprobs) == len(scores.greedy_ids) == start + 4
        assert (scores.logprobs[0], scores.greedy_ids[0]) == (0.0, -1)
        assert scores.greedy_ids[start:] == made.token_ids
        assert scores.logprobs[start:] == pytest.approx(made.logprobs, abs=self.tolerance)

    def test_close_may_be_called_twice(self, engine: Engine) -> None:
        """Closing again does nothing."""

        async def close() -> None:
            await engine.close()
            await engine.close()

        run_sync(close())
