"""Loggers that need an extra library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cwm_core.errors import PluginError


def _missing(library: str, extra: str) -> PluginError:
    return PluginError(
        f"the logger needs the library {library}, which is not installed",
        f"pip install 'cwm-train[{extra}]'",
    )


class TensorBoardLogger:
    """Writes scalars."""

    def __init__(self, directory: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard", "tensorboard") from error
        self._writer: Any = SummaryWriter(str(directory))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write every metric as a scalar."""
        for key, value in metrics.items():
            self._writer.add_scalar(key, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class WandbLogger:
    """Sends metrics to Weights & Biases; a continued run keeps its id."""

    def __init__(self, run_dir: Path, project: str, entity: str | None, mode: Any) -> None:
        try:
            import wandb
        except ImportError as error:
            raise _missing("wandb", "wandb") from error
        from hashlib import sha256

        self._run: Any = wandb.init(
            project=project,
            entity=entity,
            mode=mode,
            dir=str(run_dir),
            name=run_dir.name,
            id=sha256(str(run_dir.resolve()).encode()).hexdigest()[:16],
            resume="allow",
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Send the metrics of a step."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()
