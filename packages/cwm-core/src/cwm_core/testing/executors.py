"""Conformance suite of executors: subclass it, give it an executor, and pytest runs it.

::

    class TestMine(ExecutorConformance):
        def make(self, **limits: Any) -> Executor:
            return MyConfig(**limits).build()   # limits: timeout_s, retries
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cwm_core.errors import RunError
from cwm_core.executor.base import Executor
from cwm_core.testing.items import (
    BEHAVIOURS,
    Unpicklable,
    crash_once,
    echo_type,
    maybe_hang,
    misbehave,
    negate,
    square,
)


class ExecutorConformance:
    """What every executor promises, whatever its items do. It must have two workers."""

    def make(self, **limits: Any) -> Executor:
        """Return an executor with two workers and the given `timeout_s` and `retries`."""
        raise NotImplementedError("override `make`")

    def test_every_item_yields_one_result(self) -> None:
        """Values, indices and keys belong together."""
        with self.make() as executor:
            results = list(executor.map(square, range(20), key=str))
        assert sorted((r.index, r.get(), r.key) for r in results) == [
            (n, n * n, str(n)) for n in range(20)
        ]

    def test_no_items_no_results(self) -> None:
        """An empty input is fine."""
        with self.make() as executor:
            assert list(executor.map(square, [])) == []

    def test_an_executor_serves_several_maps(self) -> None:
        """Workers take a new function after the old one."""
        with self.make() as executor:
            first = {r.get() for r in executor.map(square, range(3))}
            second = {r.get() for r in executor.map(negate, range(3))}
        assert (first, second) == ({0, 1, 4}, {0, -1, -2})

    def test_failing_items_fail_alone(self) -> None:
        """Exceptions, exits, kills and unpicklable things cost no other item."""
        with self.make() as executor:
            results = {r.index: r for r in executor.map(misbehave, BEHAVIOURS)}
        kinds = {BEHAVIOURS[i]: r.error.kind for i, r in results.items() if r.error}
        assert kinds == {
            "raise": "raised",
            "odd exception": "raised",
            "sys.exit": "raised",
            "os._exit": "crashed",
            "SIGKILL": "crashed",
            "unpicklable": "raised",
        }
        assert sum(r.error is None for r in results.values()) == len(BEHAVIOURS) - len(kinds)
        raised = results[BEHAVIOURS.index("raise")].error
        assert raised is not None
        assert (raised.type_name, "boom" in raised.message) == ("ValueError", True)
        assert "in misbehave" in raised.trace

    def test_errors_are_picklable(self) -> None:
        """An error keeps all its fields over a process boundary."""
        with self.make() as executor:
            (result,) = executor.map(misbehave, ["raise"])
        copy = pickle.loads(pickle.dumps(result))
        assert vars(copy.error) == vars(result.error)
        with pytest.raises(RunError, match="boom"):
            copy.get()

    def test_an_item_that_takes_too_long_fails_alone(self) -> None:
        """A time-out ends the item at once, even one that ignores signals."""
        with self.make(timeout_s=1.0) as executor:
            results = {r.index: r for r in executor.map(maybe_hang, [0, 600, 0, 0])}
        assert results[1].error is not None
        assert results[1].error.kind == "timeout"
        assert [results[i].value for i in (0, 2, 3)] == [0, 0, 0]

    def test_a_crashed_item_is_tried_again(self, tmp_path: Path) -> None:
        """`retries` gives an item whose worker died another chance."""
        with self.make(retries=1) as executor:
            (result,) = executor.map(crash_once, [str(tmp_path / "been here")])
        assert result.get() == "survived"

    def test_items_are_drawn_only_as_workers_become_free(self) -> None:
        """An endless input is no trouble."""
        drawn = 0

        def endless() -> Iterator[int]:
            nonlocal drawn
            while True:
                drawn += 1
                yield drawn

        with self.make() as executor:
            results = executor.map(square, endless())
            taken = [next(results) for _ in range(10)]
            assert drawn <= len(taken) + 4
            results.close()  # type: ignore[attr-defined]

    def test_an_item_that_cannot_be_sent_fails_alone(self) -> None:
        """Pickling trouble on the way in is an item's error too."""
        with self.make() as executor:
            results = {r.index: r for r in executor.map(echo_type, [1, Unpicklable(), 2])}
        assert results[1].error is not None
        assert results[1].error.kind == "raised"
        assert (results[0].value, results[2].value) == ("int", "int")
