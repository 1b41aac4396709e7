"""Progress of long work: a bar with rate and ETA on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_INTERVAL_S = 10.0
_live: list[Any] = []


class Progress(Protocol):
    """What `progress` yields; `fields` (a loss, an accuracy) are shown beside the count."""

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Count `n` more items as done."""
        ...

    def set(self, done: int, **fields: Any) -> None:
        """Say how many items are done."""
        ...


@contextlib.contextmanager
def progress(total: int | None, description: str, unit: str = "it") -> Iterator[Progress]:
    """Show progress of `total` items (None: unknown) on stderr while the block runs."""
    if sys.stderr.isatty():
        yield from _bar(total, description, unit)
    else:
        lines = _Lines(total, description, unit)
        yield lines
        lines.close()


def say(text: str) -> None:
    """Print a line to stderr without tearing a bar that is on the screen."""
    if _live:
        _live[-1].console.print(text, markup=False, highlight=False)
    else:
        print(text, file=sys.stderr, flush=True)


def _bar(total: int | None, description: str, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    if _live:  # rich allows one live display; an inner bar becomes a row of the outer one
        yield _Row(_live[-1], total, description, unit)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[info]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=4) as live:
        _live.append(live)
        try:
            yield _Row(live, total, description, unit)
        finally:
            _live.pop()


class _Row:
    def __init__(self, live: RichProgress, total: int | None, description: str, unit: str) -> None:
        self._live, self._rate = live, _Rate(unit)
        self._task: TaskID = live.add_task(description, total=total, rate="", info="")
        self._done = 0
        self._info: dict[str, Any] = {}

    def advance(self, n: int = 1, **fields: Any) -> None:
        self._rate.begin(self._done)
        self.set(self._done + n, **fields)

    def set(self, done: int, **fields: Any) -> None:
        self._rate.begin(done)
        self._done = done
        self._info |= fields
        rate, info = self._rate.text(done), _shown(self._info)
        self._live.update(self._task, completed=done, rate=rate, info=info)


class _Lines:
    """A line at the start of real progress, one every `LINE_INTERVAL_S`, one at the end."""

    def __init__(self, total: int | None, description: str, unit: str) -> None:
        self._total, self._description = total, description
        self._rate = _Rate(unit)
        self._done, self._printed = 0, -1
        self._fields: dict[str, Any] = {}
        self._last = time.monotonic()

    def advance(self, n: int = 1, **fields: Any) -> None:
        self._rate.begin(self._done)
        self.set(self._done + n, **fields)

    def set(self, done: int, **fields: Any) -> None:
        self._rate.begin(done)
        self._done = done
        self._fields |= fields
        if time.monotonic() - self._last >= LINE_INTERVAL_S:
            self._print()

    def close(self) -> None:
        if self._done != self._printed:
            self._print()

    def _print(self) -> None:
        self._last, self._printed = time.monotonic(), self._done
        of = f"/{self._total}" if self._total is not None else ""
        left = self._rate.left(self._done, self._total)
        parts = [f"{self._done}{of}", self._rate.text(self._done), left, _shown(self._fields)]
        say(f"{self._description}: {', '.join(part for part in parts if part)}")


class _Rate:
    """Items per second since the first report: what was done before a resume does not count."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._start = time.monotonic()
        self._first: int | None = None

    def begin(self, done: int) -> None:
        if self._first is None:
            self._first = done

    def per_second(self, done: int) -> float:
        seconds = time.monotonic() - self._start
        return (done - (self._first or 0)) / seconds if seconds > 0 else 0.0

    def text(self, done: int) -> str:
        rate = self.per_second(done)
        if rate <= 0:
            return ""
        return f"{rate:,.0f} {self._unit}/s" if rate >= 10 else f"{rate:.2f} {self._unit}/s"

    def left(self, done: int, total: int | None) -> str:
        rate = self.per_second(done)
        if total is None or rate <= 0 or done >= total:
            return ""
        minutes, seconds = divmod(round((total - done) / rate), 60)
        return f"{minutes}:{seconds:02d} left"


def _shown(fields: dict[str, Any]) -> str:
    return " ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in fields.items()
    )
