"""The thread that owns the model: it takes jobs in between steps and answers them."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cwm_core.errors import RunError
from cwm_train.generate.batch import DecodingBatch
from cwm_train.generate.request import Request
from cwm_train.generate.score import score
from cwm_train.model.invariant import batch_invariant

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """Limits of the worker; see `Local` for their meaning."""

    max_batch: int = 32
    cache_tokens: int = 2**62
    prefix_bytes: int = 2**28
    prefill_chunk: int = 512
    recompute: bool = False
    max_score_tokens: int = 16384
    batch_invariant: bool = False
    native: bool = True


@dataclass(eq=False)
class Job:
    """Something to do, and who waits for it."""

    future: Future[Any] = field(default_factory=Future, kw_only=True)


@dataclass(eq=False)
class GenerateJob(Job):
    """Continue a prompt; the answer is the request itself."""

    request: Request


@dataclass(eq=False)
class ScoreJob(Job):
    """Score a sequence."""

    ids: list[int]


@dataclass(eq=False)
class UpdateJob(Job):
    """Replace the weights, all of them, by name."""

    weights: Mapping[str, Tensor]
    version: int


@dataclass
class Stats:
    """Counters since the start, and what is going on now."""

    running: int = 0
    waiting: int = 0
    version: int = 0
    cache_tokens: int = 0
    prefix_bytes: int = 0
    steps: int = 0
    requests: int = 0
    cancelled: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    computed_tokens: int = 0
    """Prompt tokens that were computed."""
    reused_tokens: int = 0
    """Prompt tokens whose keys and values were there already."""
    generated_tokens: int = 0
    scored_tokens: int = 0
    updates: int = 0


class Worker:
    """Runs jobs in a thread of its own; `submit` may be called from any other."""

    def __init__(self, model: Any, options: Options, version: int = 0) -> None:
        self._model, self._options = model, options
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._waiting: deque[GenerateJob] = deque()
        self._scores: deque[ScoreJob] = deque()
        self._running: dict[int, GenerateJob] = {}
        self.stats = Stats(version=version)
        self._lock, self._closed = threading.Lock(), False
        self._thread = threading.Thread(target=self._work, name="cwm-engine", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether jobs are taken."""
        return self._thread.is_alive() and not self._closed

    def submit(self, job: Job) -> None:
        """Hand a job over; raises `RunError` when the worker was closed."""
        with self._lock:
            if self._closed:
                raise RunError("the engine is closed", "build a new one")
            self._queue.put(job)

    def close(self) -> None:
        """Stop after the current step; whoever still waits gets a `RunError`."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    # In the thread

    def _work(self) -> None:
        with batch_invariant(self._options.batch_invariant):
            self._serve()
        self._close()

    def _serve(self) -> None:
        batch = self._new_batch()
        while self._collect(batch):
            try:
                self._score()
                self._drop_cancelled(batch)
                self._admit(batch)
                if len(batch):
                    self._answer(batch.step())
                    self.stats.steps += 1
                self._count(batch)
            except Exception as error:  # every caller must hear of it, whatever it is
                log.exception("generation failed")
                self._fail(error)
                batch = self._new_batch()

    def _new_batch(self) -> DecodingBatch:
        return DecodingBatch(
            self._model,
            chunk=self._options.prefill_chunk,
            prefix_bytes=self._options.prefix_bytes,
            version=self.stats.version,
            batch_invariant=self._options.batch_invariant,
            native=self._options.native,
        )

    def _collect(self, batch: DecodingBatch) -> bool:
        """Take all queued jobs, waiting for one if there is nothing to do; false to stop."""
        block = not (len(batch) or self._waiting or self._scores)
        while True:
            try:
                job = self._queue.get(block=block)
            except queue.Empty:
                return True
            if job is None:
                return False
            if isinstance(job, GenerateJob):
                self._waiting.append(job)
            elif isinstance(job, ScoreJob):
                self._scores.append(job)
            elif isinstance(job, UpdateJob):
                self._update(batch, job)
            block = False

    def _update(self, batch: DecodingBatch, job: UpdateJob) -> None:
        try:
            with torch.no_grad():
                for name, own in self._model.state_dict().items():
                    own.copy_(job.weights[name])
            batch.version = self.stats.version = job.version
            batch.forget(self._options.recompute)
            self.stats.updates += 1
            _resolve(job, None)
        except Exception as error:  # the trainer that waits must hear of it
            _refuse(job, error)

    def _score(self) -> None:
        jobs: list[ScoreJob] = []
        tokens = 0
        while self._scores and (not jobs or tokens < self._options.max_score_tokens):
            jobs.append(self._scores.popleft())
            tokens += len(jobs[-1].ids)
        if not jobs:
            return
        try:
            found = score(self._model, [job.ids for job in jobs], self._options.max_score_tokens)
        except Exception as error:
            for job in jobs:
                _refuse(job, error)
            raise
        self.stats.scored_tokens += tokens
        for job, scores in zip(jobs, found):
            _resolve(job, scores)

    def _admit(self, batch: DecodingBatch) -> None:
        """Take waiting requests in their order while the cache has room for all of them."""
        context = self._model.config.max_position_embeddings
        longest = max((r.needs(context) for r in batch.requests), default=0)
        while self._waiting and len(batch) < self._options.max_batch:
            job = self._waiting[0]
            if job.future.cancelled():
                self._waiting.popleft()
                self.stats.cancelled += 1
                continue
            longest = max(longest, job.request.needs(context))
            if len(batch) and longest * (len(batch) + 1) > self._options.cache_tokens:
                return
            self._running[id(job.request)] = self._waiting.popleft()
            batch.add(job.request)
            self.stats.requests += 1
            self.stats.prompt_tokens += len(job.request.prompt)

    def _answer(self, finished: list[Request]) -> None:
        for request in finished:
            _resolve(self._running.pop(id(request)), request)

    def _drop_cancelled(self, batch: DecodingBatch) -> None:
        gone = [job.request for job in self._running.values() if job.future.cancelled()]
        if gone:
            batch.cancel(gone)
            for request in gone:
                del self._running[id(request)]
            self.stats.cancelled += len(gone)

    def _count(self, batch: DecodingBatch) -> None:
        stats = self.stats
        stats.running, stats.waiting = len(batch), len(self._waiting)
        stats.cache_tokens = batch.tokens
        stats.prefix_bytes = batch.prefixes.nbytes
        stats.computed_tokens, stats.reused_tokens = batch.computed_tokens, batch.reused_tokens
        stats.generated_tokens = batch.generated_tokens

    def _fail(self, error: Exception) -> None:
        jobs: list[Job] = [*self._running.values(), *self._waiting, *self._scores]
        for job in jobs:
            _refuse(job, error)
        self.stats.failed += len(jobs)
        self._running.clear()
        self._waiting.clear()
        self._scores.clear()

    def _close(self) -> None:
        error = RunError("the engine was closed")
        self._fail(error)
        while not self._queue.empty():
            left = self._queue.get()
            if left is not None:
                _refuse(left, error)


def _resolve(job: Job, result: Any) -> None:
    if not job.future.cancelled() and job.future.set_running_or_notify_cancel():
        job.future.set_result(result)


def _refuse(job: Job, error: Exception) -> None:
    if not job.future.done() and job.future.set_running_or_notify_cancel():
        job.future.set_exception(error)
