"""Bounded concurrency for asynchronous work, and its use from synchronous code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Failure(Generic[Item]):
    """An item whose work raised."""

    index: int
    item: Item
    error: Exception


@dataclass(slots=True)
class Gathered(Generic[Item, Value]):
    """Results by item index, and what failed; every item is in exactly one of the two."""

    values: dict[int, Value] = field(default_factory=dict)
    failures: list[Failure[Item]] = field(default_factory=list)

    def in_order(self) -> list[Value]:
        """Return the values in the order of their items; failed items are left out."""
        return [self.values[index] for index in sorted(self.values)]


async def gather_bounded(
    work: Callable[[Item], Awaitable[Value]],
    items: Iterable[Item],
    *,
    limit: int,
    on_done: Callable[[int, Value | Failure[Item]], None] | None = None,
) -> Gathered[Item, Value]:
    """Run `work` on every item, at most `limit` at once; items are drawn only when there is room.

    One item's exception fails that item alone. `on_done` is called with index and result as items
    finish, for progress and for storing results at once; what it raises stops the whole call, as
    does cancellation: the running work is then cancelled and awaited.
    """
    if limit < 1:
        raise ValueError(f"limit is {limit}, must be at least 1")
    gathered: Gathered[Item, Value] = Gathered()
    numbered = iter(enumerate(items))

    async def drain() -> None:
        for index, item in numbered:
            result: Value | Failure[Item]
            try:
                result = gathered.values[index] = await work(item)
            except Exception as error:
                result = Failure(index, item, error)
                gathered.failures.append(result)
            if on_done is not None:
                on_done(index, result)

    await gather_all(drain() for _ in range(limit))
    return gathered


async def gather_all(work: Iterable[Coroutine[Any, Any, Value]]) -> list[Value]:
    """Run coroutines at once and return their results in order; none outlives the call.

    Where one raises, or the call is cancelled, the others are cancelled and awaited; then the first
    exception is raised. `asyncio.gather` returns while the others still work.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except ExceptionGroup as errors:
        raise next(_leaves(errors)) from errors
    return [task.result() for task in tasks]


async def uninterrupted(work: Awaitable[Value]) -> Value:
    """Finish work that tidies up even when this call is cancelled; the cancellation comes after.

    With `asyncio.shield` the work would go on alone, and nobody would see what it raises.
    """
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()
        raise cancelled
    return task.result()


def run_sync(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """Run a coroutine to its end from synchronous code, inside a running event loop too.

    Where a loop already runs in this thread (a notebook), a thread of its own does the work.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    results: list[Value] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(asyncio.run(coroutine))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="run_sync")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
