"""Completions kept by the content of their request: nothing is generated twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cwm_core.appended import AppendedEntries
from cwm_core.engine.base import Completion, Engine, SamplingParams, Scores


class Completions(AppendedEntries):
    """A file of completions by request; half a line, left by a kill, is cut off when it opens."""

    separators = (",", ":")

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.known: dict[str, Completion] = {}

    def add(self, key: str, found: Completion) -> None:
        """Keep a completion and hand it to the operating system."""
        self.append({"key": key, **asdict(found)})
        self.flush()

    def _take(self, entry: dict[str, Any]) -> None:
        key = str(entry.pop("key"))
        entry["token_ids"] = tuple(entry["token_ids"])
        entry["logprobs"] = tuple(entry["logprobs"])
        self.known[key] = Completion(**entry)


class CachedEngine:
    """An engine that asks another one only for what was not asked before.

    A request is its engine's configuration, prompt and sampling parameters. Requests that sample
    without a seed are never kept, since asking again means something else. Equal requests that
    wait at the same time share one answer. `hits` counts what was not asked again.
    """

    def __init__(self, engine: Engine, identity: str, completions: Completions) -> None:
        self.engine = engine
        self.hits = 0
        self._identity = identity
        self._completions = completions
        self._waiting: dict[str, asyncio.Future[Completion]] = {}

    @property
    def tokenizer(self) -> Any:
        """The engine's own, if it has one."""
        return getattr(self.engine, "tokenizer", None)

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Return the kept completion, or that of the engine."""
        if params.temperature > 0 and params.seed is None:
            return await self.engine.generate(prompt_ids, params)
        key = request_key(self._identity, prompt_ids, params)
        if (found := self._completions.known.get(key)) is not None:
            self.hits += 1
            return found
        if (waiting := self._waiting.get(key)) is not None:
            self.hits += 1
            return await asyncio.shield(waiting)
        return await self._ask(key, prompt_ids, params)

    async def _ask(self, key: str, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        try:
            made = await self.engine.generate(prompt_ids, params)
        except BaseException as error:
            if isinstance(error, Exception):
                future.set_exception(error)
                future.exception()  # whoever waits gets it; nobody waiting is no fault
            else:
                future.cancel()
            raise
        else:
            future.set_result(made)
            self._completions.add(key, made)
            return made
        finally:
            del self._waiting[key]

    async def score(self, token_ids: Sequence[int]) -> Scores:
        """Score a sequence; scores are not kept."""
        return await self.engine.score(token_ids)

    async def close(self) -> None:
        """Close the engine."""
        await self.engine.close()


def request_key(identity: str, prompt_ids: Sequence[int], params: SamplingParams) -> str:
    """Return the hash of a request: 32 hex digits."""
    content = json.dumps([identity, list(prompt_ids), asdict(params)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]
