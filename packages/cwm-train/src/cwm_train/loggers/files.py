"""Loggers that write plain files."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from cwm_core.atomic import disk_errors


class CsvLogger:
    """Appends ``step,key,value`` lines."""

    def __init__(self, path: Path) -> None:
        with disk_errors(path):
            fresh = not path.exists() or path.stat().st_size == 0
            self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        if fresh:
            self._writer.writerow(["step", "key", "value"])

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one line per metric."""
        self._writer.writerows([step, key, value] for key, value in metrics.items())
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
