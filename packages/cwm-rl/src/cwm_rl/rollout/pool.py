"""Several engines as one: requests go to the least loaded, and elsewhere when one fails."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cwm_core.engine.base import Completion, EngineError, SamplingParams, Scores, UpdatableEngine

log = logging.getLogger(__name__)

PAUSE_S = 1.0
"""How long an engine that failed gets no requests; doubled with every failure in a row."""
LONGEST_PAUSE_S = 30.0
HOMES = 100_000
"""Beginnings of prompts whose engine is remembered."""


@dataclass
class PooledEngine:
    """An engine and what is known of it."""

    name: str
    engine: UpdatableEngine
    serial: str = ""
    """Of the weights that it has."""
    running: int = 0
    failures: int = 0
    """In a row."""
    rests_until: float = 0.0
    last_answer: float = field(default_factory=time.monotonic)
    answered: int = 0
    tokens: int = 0

    def silent_s(self) -> float:
        """Return for how long requests have been waiting without any answer; 0 if idle."""
        return time.monotonic() - self.last_answer if self.running else 0.0


class EnginePool:
    """An `Engine` made of engines that come and go.

    A request is tried again, on another engine where there is one, until it was answered or
    `retries` are used up; then EngineError. Prompts that begin alike go to the same engine while
    it has room, so that it can share what it has computed of them.
    """

    def __init__(self, requests_each: int, retries: int) -> None:
        self.engines: dict[str, PooledEngine] = {}
        self._requests_each, self._retries = requests_each, retries
        self._waiting: deque[tuple[asyncio.Future[PooledEngine], int]] = deque()
        self._by_load: list[tuple[int, str]] = []
        """A heap of engines with room; entries whose load is no longer true are passed over."""
        self._homes: OrderedDict[int, str] = OrderedDict()

    async def put(self, name: str, engine: UpdatableEngine) -> PooledEngine:
        """Add an engine, or replace the one of that name; it gets requests once it has weights."""
        await self.take(name)
        self.engines[name] = PooledEngine(name, engine)
        return self.engines[name]

    async def take(self, name: str) -> None:
        """Remove an engine; its requests fail and are tried elsewhere."""
        old = self.engines.pop(name, None)
        if old is not None:
            with contextlib.suppress(Exception):
                await old.engine.close()

    async def update(self, pooled: PooledEngine, weights: Path, version: int, serial: str) -> None:
        """Give an engine weights; EngineError when it does not take them."""
        await pooled.engine.update_weights(weights, version)
        pooled.serial = serial
        self._offer(pooled)

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Continue `prompt_ids`; raises EngineError when no engine answers as it should."""
        tries = 0
        while True:
            pooled = await self._reserve(prompt_ids)
            try:
                made = await pooled.engine.generate(prompt_ids, params)
                check_completion(made, params.max_tokens)
            except (EngineError, OSError) as error:
                tries += 1
                self._failed(pooled, error)
                if tries > self._retries:
                    raise EngineError(
                        f"{pooled.name} failed, after {tries - 1} further tries: {error}",
                        "see its output in processes/",
                    ) from error
            else:
                pooled.failures, pooled.last_answer = 0, time.monotonic()
                pooled.answered += 1
                pooled.tokens += len(made.token_ids)
                return made
            finally:
                self._release(pooled)

    async def score(self, token_ids: Sequence[int]) -> Scores:
        """Score a whole sequence."""
        pooled = await self._reserve(token_ids)
        try:
            return await pooled.engine.score(token_ids)
        finally:
            self._release(pooled)

    async def close(self) -> None:
        """Close all engines."""
        for name in list(self.engines):
            await self.take(name)

    @property
    def running(self) -> int:
        """Requests that engines work on."""
        return sum(pooled.running for pooled in self.engines.values())

    @property
    def waiting(self) -> int:
        """Requests that no engine has room for."""
        return len(self._waiting)

    async def _reserve(self, prompt_ids: Sequence[int]) -> PooledEngine:
        """Take a place at an engine; requests that must wait are served in their order."""
        key = hash(tuple(prompt_ids[:64]))
        pooled = None if self._waiting else self._choose(key)
        if pooled is not None:
            return pooled
        place: asyncio.Future[PooledEngine] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, key))
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._release(place.result())
            raise

    def _release(self, pooled: PooledEngine) -> None:
        pooled.running -= 1
        self._offer(pooled)

    def _offer(self, pooled: PooledEngine) -> None:
        """Give places at an engine to those who wait."""
        if self._has_room(pooled):
            heapq.heappush(self._by_load, (pooled.running, pooled.name))
        while self._waiting:
            place, key = self._waiting[0]
            if place.done():  # cancelled
                self._waiting.popleft()
                continue
            chosen = self._choose(key)
            if chosen is None:
                return
            self._waiting.popleft()
            place.set_result(chosen)

    def _choose(self, key: int) -> PooledEngine | None:
        """Take a place at the least loaded engine, or at the one that knows the prompt."""
        least = self._least_loaded()
        if least is None:
            return None
        home = self.engines.get(self._homes.get(key, ""))
        chosen = least
        if home is not None and self._has_room(home) and home.running <= 2 * least.running + 8:
            chosen = home
        self._homes[key] = chosen.name
        if len(self._homes) > HOMES:
            self._homes.popitem(last=False)
        if not chosen.running:
            chosen.last_answer = time.monotonic()
        chosen.running += 1
        if self._has_room(chosen):
            heapq.heappush(self._by_load, (chosen.running, chosen.name))
        return chosen

    def _least_loaded(self) -> PooledEngine | None:
        while self._by_load:
            load, name = self._by_load[0]
            pooled = self.engines.get(name)
            if pooled is not None and pooled.running == load and self._has_room(pooled):
                return pooled
            heapq.heappop(self._by_load)
        return None

    def _has_room(self, pooled: PooledEngine) -> bool:
        return (
            pooled is self.engines.get(pooled.name)
            and bool(pooled.serial)
            and pooled.running < self._requests_each
            and pooled.rests_until <= time.monotonic()
        )

    def _failed(self, pooled: PooledEngine, error: Exception) -> None:
        if pooled is not self.engines.get(pooled.name):
            return
        pooled.failures += 1
        rest = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** (pooled.failures - 1))
        pooled.rests_until = time.monotonic() + rest
        asyncio.get_running_loop().call_later(rest + 0.01, self._offer, pooled)
        log.warning("%s failed and rests for %g s: %s", pooled.name, rest, error)


def check_completion(made: Completion, most: int) -> None:
    """Raise EngineError for an answer that cannot be learnt from."""
    count = len(made.token_ids)
    if count != len(made.logprobs):
        raise EngineError(f"{count} tokens came with {len(made.logprobs)} log-probabilities")
    if made.model_versions is not None and count != len(made.model_versions):
        raise EngineError(f"{count} tokens came with {len(made.model_versions)} versions")
    if not 0 < count <= most:
        raise EngineError(f"{count} tokens came where 1 to {most} were asked for")
    if not all(math.isfinite(value) and value <= 1e-3 for value in made.logprobs):
        raise EngineError("a log-probability is no number at or below 0")
