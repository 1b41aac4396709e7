"""Executor: runs a function on many independent items, each of which may fail alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from cwm_core.errors import RunError

Item = TypeVar("Item")
Value = TypeVar("Value")


class ItemError(RunError):
    """Why one item failed; plain text, so it survives any process boundary.

    `kind` is ``"raised"`` (the function raised), ``"crashed"`` (its process died) or ``"timeout"``.
    """

    def __init__(
        self, kind: str, message: str, hint: str | None = None, type_name: str = "", trace: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.type_name = type_name
        """Name of the exception's class, for ``"raised"``."""
        self.trace = trace
        """Its traceback, for ``"raised"``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.message, self.hint, self.type_name, self.trace)


@dataclass(frozen=True, slots=True)
class ItemResult(Generic[Value]):
    """Result of the item at `index`: `value` where `error` is None."""

    index: int
    value: Value | None = None
    error: ItemError | None = None
    key: Any = None
    """What `key` of `Executor.map` gave for the item."""

    def get(self) -> Value:
        """Return the value; raises the `ItemError` of a failed item."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]


@runtime_checkable
class Executor(Protocol):
    """Runs many independent items; a context manager that frees its workers at the end."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *exception: object) -> None: ...

    def map(
        self,
        fn: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        key: Callable[[Item], Any] | None = None,
    ) -> Iterator[ItemResult[Value]]:
        """Yield one result per item as they finish, in any order.

        `fn` and the items must be picklable; items are drawn only as workers become free. Raises
        RunError when `fn` cannot be sent or no worker starts; never because of an item.
        """
        ...
