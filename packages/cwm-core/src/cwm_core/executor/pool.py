"""Dispatching items to workers that may raise, hang or die; processes and Ray actors alike."""

from __future__ import annotations

import abc
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cwm_core.errors import RunError
from cwm_core.executor.base import Item, ItemError, ItemResult, Value
from cwm_core.executor.body import Reply, describe

STARTS = 2
"""Workers that may die in a row before they were ready, until the pool gives up."""


class WorkerDiedError(Exception):
    """A worker is gone; the message says how."""


class Worker(abc.ABC):
    """A process, here or elsewhere, that runs one item at a time."""

    def __init__(self) -> None:
        self.ready = False
        """Whether it has started and loaded the function of its job."""
        self.job: _Job | None = None
        self.task: _Task | None = None
        """The item it is running."""
        self.deadline = float("inf")

    @abc.abstractmethod
    def send(self, request: str, content: bytes) -> None:
        """Send ``"load"`` with a function or ``"run"`` with an item (see `WorkerBody`).

        Raises WorkerDiedError when the worker is gone.
        """

    @abc.abstractmethod
    def receive(self) -> Reply:
        """Return the reply that `wait` announced; WorkerDiedError when the worker is gone."""

    @abc.abstractmethod
    def kill(self) -> None:
        """End the worker and all that it started, at once."""


@dataclass(slots=True)
class _Task:
    index: int
    key: Any
    payload: bytes
    crashes: int = 0


@dataclass(slots=True, eq=False)
class _Job:
    fn: bytes
    items: Iterator[tuple[int, Any]]
    key: Callable[[Any], Any] | None
    failed: deque[ItemResult[Any]] = field(default_factory=deque)
    queue: deque[_Task] = field(default_factory=deque)
    """Items that were drawn and wait for a worker, never more than there are workers."""
    exhausted: bool = False


class PoolExecutor(abc.ABC):
    """A pool of `size` workers, started as items need them and replaced when they die.

    `timeout_s` bounds each item; `retries` is how often an item whose worker died is tried again.
    """

    def __init__(self, size: int, timeout_s: float | None, retries: int) -> None:
        self.size, self.timeout_s, self.retries = size, timeout_s, retries
        self._workers: list[Worker] = []
        self._failed_starts = 0
        self._busy = False

    @abc.abstractmethod
    def spawn(self) -> Worker:
        """Begin to start a worker."""

    @abc.abstractmethod
    def wait(self, workers: Sequence[Worker], timeout_s: float | None) -> list[Worker]:
        """Wait until some workers have replied or died, and return these."""

    def dumps(self, value: Any) -> bytes:
        """Pickle a function or an item."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def __enter__(self) -> PoolExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers."""
        while self._workers:
            self._workers.pop().kill()

    def map(
        self,
        fn: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        key: Callable[[Item], Any] | None = None,
    ) -> Iterator[ItemResult[Value]]:
        """Yield one result per item as they finish (see `Executor.map`)."""
        try:
            pickled = self.dumps(fn)
        except Exception as error:
            raise RunError(
                f"the function {fn!r} cannot be sent to other processes: {error}",
                "define it at the top of a module",
            ) from error
        return self._results(_Job(pickled, enumerate(items), key))

    def _results(self, job: _Job) -> Iterator[ItemResult[Any]]:
        if self._busy:
            raise RunError("the executor is running another map", "use one executor for each")
        self._busy = True
        try:
            while True:
                self._hand_out(job)
                yield from _drain(job.failed)
                active = [w for w in self._workers if w.task is not None or not w.ready]
                if not any(w.task for w in active) and job.exhausted and not job.queue:
                    return
                for worker in self.wait(active, self._patience()):
                    yield from self._heed(worker, job)
                yield from self._expire()
        finally:
            self._busy = False
            for worker in [w for w in self._workers if w.task is not None or not w.ready]:
                self._drop(worker)

    def _hand_out(self, job: _Job) -> None:
        """Give every free worker an item, starting workers while there are items to give."""
        for worker in [w for w in self._workers if w.ready and w.task is None]:
            task = job.queue.popleft() if job.queue else self._draw(job)
            if task is None:
                break
            if worker.job is job:
                self._give(worker, task, job)
            else:
                job.queue.appendleft(task)
                self._load(worker, job)
        starting = sum(not w.ready for w in self._workers)
        while len(self._workers) < self.size:
            if len(job.queue) <= starting:
                task = self._draw(job)
                if task is None:
                    return
                job.queue.append(task)
            self._workers.append(self.spawn())
            starting += 1

    def _draw(self, job: _Job) -> _Task | None:
        for index, item in job.items:
            key = job.key(item) if job.key else None
            try:
                return _Task(index, key, self.dumps(item))
            except Exception as error:
                job.failed.append(ItemResult(index, error=_raised(describe(error)), key=key))
        job.exhausted = True
        return None

    def _load(self, worker: Worker, job: _Job) -> None:
        worker.ready, worker.job = False, job
        try:
            worker.send("load", job.fn)
        except WorkerDiedError:
            self._drop(worker)

    def _give(self, worker: Worker, task: _Task, job: _Job) -> None:
        worker.task = task
        worker.deadline = time.monotonic() + (self.timeout_s or float("inf"))
        try:
            worker.send("run", task.payload)
        except WorkerDiedError:
            self._drop(worker)
            job.queue.appendleft(task)

    def _heed(self, worker: Worker, job: _Job) -> Iterator[ItemResult[Any]]:
        """Turn a worker's reply or death into results."""
        task = worker.task
        try:
            kind, content = worker.receive()
        except WorkerDiedError as error:
            self._drop(worker)
            yield from self._mourn(worker, job, str(error))
            return
        if kind == "broken":
            raise RunError(
                f"the workers cannot load the function: {content}",
                "its module must be importable in the workers",
            )
        if kind == "ready":
            worker.ready = True
            self._failed_starts = 0
            return
        assert task is not None
        worker.task, worker.deadline = None, float("inf")
        yield self._result(task, kind, content)

    def _result(self, task: _Task, kind: str, content: Any) -> ItemResult[Any]:
        if kind == "error":
            return ItemResult(task.index, error=_raised(content), key=task.key)
        try:
            return ItemResult(task.index, value=pickle.loads(content), key=task.key)
        except Exception as error:
            return ItemResult(task.index, error=_raised(describe(error)), key=task.key)

    def _mourn(self, worker: Worker, job: _Job, reason: str) -> Iterator[ItemResult[Any]]:
        task = worker.task
        if task is None:
            self._failed_starts += not worker.ready
            if self._failed_starts >= STARTS:
                raise RunError(
                    f"workers do not start: {reason}",
                    "a script must begin its work under `if __name__ == '__main__':`",
                )
        elif task.crashes < self.retries:
            task.crashes += 1
            job.queue.append(task)
        else:
            yield ItemResult(task.index, error=ItemError("crashed", reason), key=task.key)

    def _expire(self) -> Iterator[ItemResult[Any]]:
        now = time.monotonic()
        for worker in [w for w in self._workers if w.deadline <= now]:
            task = worker.task
            assert task is not None
            self._drop(worker)
            error = ItemError("timeout", f"took longer than {self.timeout_s:g} s")
            yield ItemResult(task.index, error=error, key=task.key)

    def _patience(self) -> float | None:
        nearest = min((w.deadline for w in self._workers), default=float("inf"))
        return None if nearest == float("inf") else max(0.0, nearest - time.monotonic())

    def _drop(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.kill()


def _raised(fields: dict[str, Any]) -> ItemError:
    return ItemError("raised", **fields)


def _drain(queue: deque[ItemResult[Any]]) -> Iterator[ItemResult[Any]]:
    while queue:
        yield queue.popleft()
