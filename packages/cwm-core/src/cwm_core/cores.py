"""How many CPU cores this process may use."""

from __future__ import annotations

import os
from collections.abc import Callable


def usable_cores() -> int:
    """Return the number of cores this process may run on; all of the machine's if that is unknown.

    Python says it itself from 3.13 on; before, Linux does; macOS has no affinity of processes.
    """
    ask: Callable[[], int | None] | None = getattr(os, "process_cpu_count", None)
    if ask is None and hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return (ask or os.cpu_count)() or 1
