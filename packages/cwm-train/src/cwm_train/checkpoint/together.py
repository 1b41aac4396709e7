"""The processes of a run do one thing together: all succeed, or all raise the same error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import distributed

T = TypeVar("T")


class Together:
    """Processes that talk beside the training, on a group of their own (gloo)."""

    def __init__(self) -> None:
        several = distributed.is_available() and distributed.is_initialized()
        self.size = distributed.get_world_size() if several else 1
        self.rank = distributed.get_rank() if several else 0
        self.group: Any = distributed.new_group(backend="gloo") if self.size > 1 else None

    def each(self, work: Callable[[], T]) -> list[T]:
        """Return what `work` returned in every process, by rank; raise the first error of any."""
        result, error = None, None
        try:
            result = work()
        except Exception as raised:
            error = raised
        outcomes: list[Any] = [(result, error)]
        if self.size > 1:
            outcomes = [None] * self.size
            distributed.all_gather_object(outcomes, (result, error), group=self.group)
        if error is not None:
            raise error
        for _, other in outcomes:
            if other is not None:
                raise other
        return [result for result, _ in outcomes]

    def first(self, work: Callable[[], T]) -> T:
        """Return, in every process, what `work` returned in the first; raise what it raised."""
        return self.each(lambda: work() if self.rank == 0 else None)[0]  # type: ignore[return-value]
