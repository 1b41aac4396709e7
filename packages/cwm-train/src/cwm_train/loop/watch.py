"""What a training run says about itself while it runs: progress and lines of metrics."""

from __future__ import annotations

import math
import resource
import time
from contextlib import ExitStack
from typing import Any

import torch
from accelerate.state import PartialState

from cwm_core.progress import Progress, progress
from cwm_core.rundir import RunDir
from cwm_train.data.stream import PackedStream
from cwm_train.loop.config import TrainConfig
from cwm_train.loop.processes import NoProgress
from cwm_train.loop.state import TrainState
from cwm_train.loop.utilization import Utilization
from cwm_train.model.transformer import CwmForCausalLM

TOTAL = 1000


class Watch:
    """Shows progress and logs every `log_every` steps; the first process alone speaks.

    Its sums since the last line are part of the state, so that a resumed run logs the same.
    """

    def __init__(
        self,
        run: RunDir,
        config: TrainConfig,
        state: TrainState,
        model: CwmForCausalLM,
        processes: PartialState,
        stream: PackedStream,
    ) -> None:
        self._run, self._config, self._state = run, config, state
        self._speaks = processes.is_main_process
        self._stream = stream
        self._shares: dict[str, float] = {}
        self._utilization = Utilization(
            model.config,
            config.sequence_length,
            processes.device,
            processes.num_processes,
            config.peak_flops,
        )
        self._stack = ExitStack()
        self._bar: Progress = NoProgress()
        self._begin, self._waited_s = time.monotonic(), stream.waited_s
        if not state.window:
            self._open_window()

    def __enter__(self) -> Watch:
        if self._speaks:
            self._bar = self._stack.enter_context(progress(TOTAL, "training", unit="‰"))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def step(self, loss: float, norm: float, used: float, optimizer: torch.optim.Optimizer) -> None:
        """Take a step in: its loss (nats per token), gradient norm and the budget used before."""
        state, window = self._state, self._state.window
        if math.isfinite(loss):
            window["losses"].append(loss)
        losses = window["losses"]
        mean = math.fsum(losses) / len(losses) if losses else math.nan
        seconds = max(state.elapsed_s - window["elapsed_s"], 1e-9)
        speed = (state.tokens - window["tokens"]) / seconds
        self._show(mean, speed, used)
        if state.step % self._config.log_every:
            return
        self._shares = self._stream.token_shares(state.position)
        metrics = {
            "loss": mean,
            "lr": optimizer.param_groups[0]["lr"],
            "grad_norm": norm,
            "tokens": state.tokens,
            "loss_tokens": state.loss_tokens,
            "tokens_per_s": speed,
            "skipped_steps": state.skipped_steps,
            "elapsed_s": state.elapsed_s,
            "progress": used,
            **{f"share/{name}": share for name, share in self._shares.items()},
            "data_wait": self._data_wait(),
            **self._memory(),
            **self._utilization.metrics(speed),
        }
        self._run.log_metrics(state.step, metrics)
        self._open_window()

    def finish(self) -> None:
        """Show that all is done."""
        self._bar.set(TOTAL)

    def _show(self, loss: float, speed: float, used: float) -> None:
        fields: dict[str, Any] = {"step": self._state.step, "loss": loss}
        fields["tokens/s"] = f"{speed:,.0f}"
        if found := self._utilization.metrics(speed):
            fields["MFU"] = f"{found['mfu']:.1%}"
        if len(self._shares) > 1:
            fields["mix"] = " ".join(f"{name} {share:.0%}" for name, share in self._shares.items())
        self._bar.set(int(used * TOTAL), **fields)

    def _open_window(self) -> None:
        state = self._state
        state.window.clear()
        state.window |= {"losses": [], "tokens": state.tokens, "elapsed_s": state.elapsed_s}

    def _data_wait(self) -> float:
        """Share of the time since the last call in which the loop waited for data."""
        now, waited_s = time.monotonic(), self._stream.waited_s
        share = (waited_s - self._waited_s) / max(now - self._begin, 1e-9)
        self._begin, self._waited_s = now, waited_s
        return share

    def _memory(self) -> dict[str, float]:
        found = {"peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0}
        if torch.cuda.is_available():
            found["peak_gpu_memory_bytes"] = float(torch.cuda.max_memory_allocated())
        return found
