"""Benchmark: tasks of an environment, what an engine is asked, and how its answers are scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from cwm_core.engine.base import Engine
from cwm_core.env.environment import Task
from cwm_eval.samples import Sample
from cwm_eval.statistics import Estimate


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """How a metric is shown: a short title and one sentence on what is counted."""

    title: str
    about: str
    unit: str = "share"
    """`share` (0 to 1, shown in percent) or the unit of a plain number."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Scores of a set of samples.

    `breakdowns` maps a dimension to its groups and each group to metrics; groups are in the order
    in which to show them.
    """

    metrics: Mapping[str, Estimate]
    breakdowns: Mapping[str, Mapping[str, Mapping[str, Estimate]]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


class SkipTaskError(Exception):
    """The benchmark cannot ask this task; the message says why. Not the engine's fault."""


@runtime_checkable
class Benchmark(Protocol):
    """An evaluation; components of kind "benchmarks" build it."""

    metric_infos: Mapping[str, MetricInfo]

    def count(self) -> int | None:
        """Return the number of tasks, `None` when that is not known beforehand."""
        ...

    def tasks(self) -> Iterable[Task]:
        """Yield the tasks in a stable order."""
        ...

    async def evaluate(self, task: Task, engine: Engine) -> Mapping[str, Any]:
        """Ask `engine` and return what `summarise` needs, as JSON values.

        Whatever the engine produced is an answer. Exceptions mean that it could not answer:
        the runner tries again and reports them apart. Raises `SkipTaskError`.
        """
        ...

    def summarise(self, samples: Iterable[Sample]) -> Summary:
        """Score the samples that have a result; the others are left out."""
        ...
