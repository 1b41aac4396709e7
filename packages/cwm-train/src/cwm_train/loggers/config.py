"""Configuration of the metric loggers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cwm_core.components import ComponentConfig

if TYPE_CHECKING:
    from cwm_core.rundir import MetricLogger


class Csv(ComponentConfig):
    """One line per logged value: step, key, value."""

    file: str = "metrics.csv"
    """Name of the file in the run directory."""

    def build(self, run_dir: Path) -> MetricLogger:
        """Open the file; a continued run appends."""
        from cwm_train.loggers.files import CsvLogger

        return CsvLogger(run_dir / self.file)


class TensorBoard(ComponentConfig):
    """TensorBoard event files (needs `cwm-train[tensorboard]`)."""

    folder: str = "tensorboard"
    """Subdirectory of the run directory."""

    def build(self, run_dir: Path) -> MetricLogger:
        """Open the event file; raise `PluginError` if TensorBoard is missing."""
        from cwm_train.loggers.services import TensorBoardLogger

        return TensorBoardLogger(run_dir / self.folder)


class Wandb(ComponentConfig):
    """Weights & Biases (needs `cwm-train[wandb]` and, unless offline, an account)."""

    project: str = "cwm"
    """Project to log to."""
    entity: str | None = None
    """Team or user; the account's default if not set."""
    mode: str = "online"
    """``online``, ``offline`` or ``disabled``."""

    def build(self, run_dir: Path) -> MetricLogger:
        """Start or continue the run; raise `PluginError` if the library is missing."""
        from cwm_train.loggers.services import WandbLogger

        return WandbLogger(run_dir, self.project, self.entity, self.mode)
