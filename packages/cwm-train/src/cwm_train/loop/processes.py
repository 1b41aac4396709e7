"""One run directory for all processes of a launcher: the first owns it, the others write nothing.

`torchrun` and `accelerate launch` say how many there are by the variable ``WORLD_SIZE``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

from cwm_core.errors import ConfigError, CwmError, RunError
from cwm_core.rundir import MetricLogger, RunDir, open_run
from cwm_train.loop.config import TrainConfig
from cwm_train.parallel.config import check_length

_LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Timed out")
"""What torch's RuntimeError says when a collective fails."""


class FollowedRun(RunDir):
    """The run directory of another process: what is told here is told there already."""

    def log(self, text: str) -> None:
        """Say nothing."""

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write nothing."""

    def rewind(self, step: int) -> None:
        """Leave the metrics to their owner."""

    def add_logger(self, logger: MetricLogger) -> None:
        """Feed no logger."""


class NoProgress:
    """The progress of another process, which shows it."""

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Show nothing."""

    def set(self, done: int, **fields: Any) -> None:
        """Show nothing."""


@contextmanager
def open_shared_run(config: TrainConfig) -> Iterator[RunDir]:
    """Open the run directory as `open_run` does, once for all processes of the launcher.

    Raises what `open_run` does; ConfigError when a batch has fewer rows than there are processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        config.parallel.sizes(1)
        with open_run(config.out, "train", config) as run:
            yield run
        return
    from accelerate.state import PartialState

    timeout = timedelta(seconds=config.parallel.timeout_s)
    state = PartialState(cpu=not _has_distributed_accelerator(), timeout=timeout)
    check_shares(config, state.num_processes)
    with ExitStack() as stack, lost_processes():
        yield _open_first(config, stack) if state.is_main_process else _follow(config)
        state.wait_for_everyone()
    state.destroy_process_group()


def _has_distributed_accelerator() -> bool:
    import torch

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return device is not None and device.type != "mps"  # torch has no collectives for Apple's GPUs


def _open_first(config: TrainConfig, stack: ExitStack) -> RunDir:
    from accelerate.utils import broadcast_object_list

    try:
        run = stack.enter_context(open_run(config.out, "train", config))
    except CwmError:
        broadcast_object_list([None])  # the others wait for the answer
        raise
    broadcast_object_list([(run.resumed, run.is_done)])
    return run


def _follow(config: TrainConfig) -> RunDir:
    from accelerate.utils import broadcast_object_list

    answer: list[tuple[bool, bool] | None] = [None]
    broadcast_object_list(answer)
    if answer[0] is None:
        raise RunError(
            f"the first process could not open '{config.out}'", "its message says what is wrong"
        )
    resumed, is_done = answer[0]
    run = FollowedRun(config.out, "train", config, resumed)
    run.is_done = is_done
    return run


def check_shares(config: TrainConfig, processes: int) -> None:
    """Raise ConfigError when the processes cannot share a batch, or a sequence, evenly enough."""
    sizes = config.parallel.sizes(processes)
    rows = config.batch_tokens // config.sequence_length
    if rows < sizes.data:
        raise ConfigError(
            f"batch_tokens ({config.batch_tokens}) holds {rows} rows of {config.sequence_length} "
            f"tokens for {sizes.data} processes",
            "raise batch_tokens or start fewer processes",
        )
    check_length(config.sequence_length, sizes)


@contextmanager
def lost_processes() -> Iterator[None]:
    """Say it plainly when another process of the run is gone or silent.

    Raises RunError in place of what torch raises when a collective fails.
    """
    from torch.distributed import DistError

    try:
        yield
    except (DistError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, DistError) and not any(sign in text for sign in _LOST):
            raise
        raise RunError(
            f"another process of this run is gone or does not answer: {text.splitlines()[0]}",
            "its own output says why; the same command continues from the last checkpoint",
        ) from error
