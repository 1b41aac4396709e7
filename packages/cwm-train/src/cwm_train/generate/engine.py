"""The local engine: one worker thread, into whose batch concurrent calls are merged."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch

from cwm_core.engine.base import Completion, SamplingParams, Scores
from cwm_core.errors import RunError
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.checkpoint.hf import load_pretrained
from cwm_train.generate.batch import DecodingBatch, check_prompt
from cwm_train.generate.config import Local
from cwm_train.generate.score import score
from cwm_train.loop.precision import has_fast_bf16
from cwm_train.model.transformer import CwmForCausalLM

log = logging.getLogger(__name__)


@dataclass
class _Job:
    ids: list[int]
    params: SamplingParams | None
    """`None`: score the sequence."""
    future: Future[Any]


class LocalEngine:
    """Generates and scores with a model in this process.

    Calls may come from any event loop or thread. Results do not depend on what else is in the
    batch, up to rounding.
    """

    def __init__(
        self,
        model: CwmForCausalLM,
        tokenizer: Tokenizer,
        max_batch: int = 32,
        max_score_tokens: int = 16384,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._max_batch, self._max_score_tokens = max_batch, max_score_tokens
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: list[_Job] = []
        self._jobs: dict[int, _Job] = {}
        self._numbers = count()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="cwm-engine", daemon=True)
        self._thread.start()

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        """Continue `prompt_ids`; raises `DataError` for an unusable prompt."""
        check_prompt(prompt_ids, self.model)
        completion: Completion = await self._submit(list(prompt_ids), params)
        return replace(completion, text=self.tokenizer.decode(list(completion.token_ids)))

    async def score(self, token_ids: Sequence[int]) -> Scores:
        """Score a whole sequence; raises `DataError` for an unusable one."""
        check_prompt(token_ids, self.model)
        return await self._submit(list(token_ids), None)

    async def close(self) -> None:
        """Stop the worker; calls that still wait fail with `RunError`."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    async def _submit(self, ids: list[int], params: SamplingParams | None) -> Any:
        if self._closed:
            raise RunError("the engine is closed", "build a new one")
        job = _Job(ids, params, Future())
        self._queue.put(job)
        return await asyncio.wrap_future(job.future)

    # Worker thread

    def _work(self) -> None:
        batch = DecodingBatch(self.model)
        while self._collect(block=not len(batch)):
            try:
                self._score_waiting()
                self._fill(batch)
                self._deliver(batch.step())
                self._drop_cancelled(batch)
            except Exception as error:  # every caller must hear of it, whatever it is
                log.exception("generation failed")
                self._fail(error)
                batch = DecodingBatch(self.model)
        self._fail(RunError("the engine was closed"))

    def _collect(self, block: bool) -> bool:
        """Take all queued jobs, waiting for one if there is nothing to do; false to stop."""
        block = block and not self._waiting
        while True:
            try:
                job = self._queue.get(block=block)
            except queue.Empty:
                return True
            if job is None:
                return False
            self._waiting.append(job)
            block = False

    def _score_waiting(self) -> None:
        jobs = [job for job in self._waiting if job.params is None]
        if not jobs:
            return
        self._waiting = [job for job in self._waiting if job.params is not None]
        keys = {next(self._numbers): job for job in jobs}
        self._jobs |= keys
        results = score(self.model, [job.ids for job in jobs], self._max_score_tokens)
        for key, result in zip(keys, results):
            _answer(self._jobs.pop(key), result)

    def _fill(self, batch: DecodingBatch) -> None:
        room = self._max_batch - len(batch)
        chosen, self._waiting = self._waiting[:room], self._waiting[room:]
        requests = []
        for job in chosen:
            assert job.params is not None
            key = next(self._numbers)
            self._jobs[key] = job
            requests.append((key, job.ids, job.params))
        if requests:
            self._deliver(batch.add(requests))

    def _deliver(self, finished: dict[Any, Completion]) -> None:
        for key, completion in finished.items():
            _answer(self._jobs.pop(key), completion)

    def _drop_cancelled(self, batch: DecodingBatch) -> None:
        for key in [key for key, job in self._jobs.items() if job.future.cancelled()]:
            batch.cancel(key)
            del self._jobs[key]

    def _fail(self, error: Exception) -> None:
        for job in [*self._jobs.values(), *self._waiting]:
            if not job.future.done():
                job.future.set_exception(error)
        self._jobs, self._waiting = {}, []


def _answer(job: _Job, result: Any) -> None:
    if job.future.set_running_or_notify_cancel():
        job.future.set_result(result)


def build_engine(config: Local) -> LocalEngine:
    """Load the model that a config names; raise `DataError` if it is none."""
    if config.threads:
        torch.set_num_threads(config.threads)
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    dtype_name = config.dtype
    if dtype_name == "auto":
        dtype_name = "bfloat16" if has_fast_bf16(device) else "float32"
    model, tokenizer = load_pretrained(
        config.checkpoint, device=device, dtype=getattr(torch, dtype_name)
    )
    return LocalEngine(model, tokenizer, config.max_batch, config.max_score_tokens)
