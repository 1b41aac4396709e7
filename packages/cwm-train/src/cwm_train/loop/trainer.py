"""The training loop: batches in, a model out."""

from __future__ import annotations

import math
import resource
import time
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from cwm_core.errors import RunError
from cwm_core.plugins import registry
from cwm_core.progress import Progress, progress
from cwm_core.rundir import RunDir
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.checkpoint.hf import own_weights, read_weights, save_pretrained
from cwm_train.checkpoint.store import CheckpointStore, load_state
from cwm_train.data.batch import Batch, collate
from cwm_train.data.stream import PackedStream
from cwm_train.loop.config import TrainConfig
from cwm_train.loop.ema import Ema
from cwm_train.loop.evaluate import evaluate
from cwm_train.loop.gradients import SerialGradients, SideBySideGradients, parallel_parts
from cwm_train.loop.interrupt import Interrupt
from cwm_train.loop.plot import plot_losses
from cwm_train.loop.precision import autocast, wants_bf16
from cwm_train.loop.processes import NoProgress
from cwm_train.loop.state import TrainState, progress_of
from cwm_train.model.transformer import CwmForCausalLM

PLOT_EVERY_S = 30.0


class Trainer:
    """Trains one model in one run directory; continues from its newest good checkpoint."""

    def __init__(
        self,
        config: TrainConfig,
        run: RunDir,
        accelerator: Accelerator,
        model: CwmForCausalLM,
        tokenizer: Tokenizer,
        stream: PackedStream,
        validation: list[Batch],
    ) -> None:
        self.config, self.run, self.accelerator = config, run, accelerator
        self.tokenizer, self.stream, self.validation = tokenizer, stream, validation
        self.model = model
        optimizer = config.optimizer.build(model.named_parameters())
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.bf16 = wants_bf16(config.precision, accelerator.device)
        self.parallel = parallel_parts(config, accelerator, model)
        wrapped: Any = torch.compile(model) if config.compile else model
        self.wrapped, self.optimizer = accelerator.prepare(wrapped, optimizer)
        self.gradients: SerialGradients | SideBySideGradients = (
            SideBySideGradients(model, self.parallel, self.bf16)
            if self.parallel > 1
            else SerialGradients(accelerator, self.wrapped, self.bf16)
        )
        self.schedule = config.schedule.build()
        self.ema = Ema(model, config.ema) if config.ema else None
        self.state = TrainState()
        self.store = CheckpointStore(run.path / "checkpoints", config.keep_checkpoints)
        self._last_checkpoint = time.monotonic()
        self._last_plot = -math.inf
        self._window = _Window()

    def fit(self) -> Path:
        """Train until the budget is used; return the directory of the final model.

        Ctrl-C and SIGTERM write a checkpoint first. Raises `RunError` when too many steps in a
        row have a loss or gradient that is not finite.
        """
        self._resume()
        total = 1000
        with (
            closing(self.gradients),
            Interrupt() as interrupt,
            self._progress_bar(total) as bar,
        ):
            clock = time.monotonic() - self.state.elapsed_s
            while True:
                used, stop = self._agree(interrupt.requested)
                if used >= 1 or stop:
                    break
                loss, norm = self._step(self.schedule(used))
                self.state.elapsed_s = time.monotonic() - clock
                self._report(loss, norm, used, bar)
                self._after_step()
            if stop:
                self.save_checkpoint()
                interrupt.leave()
            bar.set(total)
        return self._finish()

    def _progress_bar(self, total: int) -> AbstractContextManager[Progress]:
        if self.accelerator.is_main_process:
            return progress(total, "training", unit="‰")
        return nullcontext(NoProgress())

    def _agree(self, stop: bool) -> tuple[float, bool]:
        """Return the used share of the budget and whether to stop, as the main process sees it.

        Its clock and the signals that it got count for all: processes that leave the loop at
        different steps would wait for one another for ever.
        """
        found = [(progress_of(self.state, self.config), stop)]
        if self.accelerator.num_processes > 1:
            broadcast_object_list(found)
        return found[0]

    def _step(self, factor: float) -> tuple[float, float]:
        """Do one optimizer step; return loss per token (nats) and gradient norm."""
        parts, labelled = self._next_batch()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        loss = self._backward(parts, labelled)
        norm = float(
            self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.config.grad_clip)
        )
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step()
            self.state.bad_steps = 0
            if self.ema:
                self.ema.update(self.state.step)
        else:
            self._skip(loss, norm)
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        return loss, norm

    def _next_batch(self) -> tuple[list[Batch], int]:
        """Return this process's parts of the next batch and the labelled tokens of the whole."""
        config, accelerator = self.config, self.accelerator
        rows = config.batch_tokens // config.sequence_length
        documents, self.state.position = self.stream.take(self.state.position, rows)
        whole = collate(documents, config.sequence_length)
        self.state.tokens += whole.tokens
        self.state.loss_tokens += whole.loss_tokens
        own = documents[accelerator.process_index :: accelerator.num_processes]
        batch = collate(own, config.sequence_length) if accelerator.num_processes > 1 else whole
        size = math.ceil(len(own) / max(config.accumulate, self.parallel))
        return batch.to(accelerator.device).split(size), whole.loss_tokens

    def _backward(self, parts: list[Batch], labelled: int) -> float:
        """Accumulate the gradient of the mean loss over all labelled tokens; return that mean."""
        scale = 1 / max(labelled, 1)
        total = self.gradients.add(parts, scale)
        return float(self.accelerator.reduce(total, "sum")) * scale

    def _skip(self, loss: float, norm: float) -> None:
        self.state.bad_steps += 1
        self.run.log(
            f"step {self.state.step}: loss {loss}, gradient norm {norm}: not finite, step skipped"
        )
        if self.state.bad_steps > self.config.max_bad_steps:
            raise RunError(
                f"{self.state.bad_steps} steps in a row had a loss or gradient that is not finite "
                f"(now at step {self.state.step})",
                "lower the learning rate, check the data, or use precision=fp32; the last "
                f"checkpoints are in {self.store.directory}",
            )

    def _report(self, loss: float, norm: float, used: float, bar: Progress) -> None:
        self._window.add(loss, self.state)
        shown = self._window.loss
        bar.set(int(used * 1000), step=self.state.step, loss=shown, **self._window.shown())
        if self.state.step % self.config.log_every or not self.accelerator.is_main_process:
            return
        state = self.state
        metrics = {
            "loss": shown,
            "lr": self.optimizer.param_groups[0]["lr"],
            "grad_norm": norm,
            "tokens": state.tokens,
            "loss_tokens": state.loss_tokens,
            "tokens_per_s": self._window.tokens_per_s,
            "elapsed_s": state.elapsed_s,
            "progress": used,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        self.run.log_metrics(state.step, metrics)
        self._window = _Window(state)

    def _after_step(self) -> None:
        step, config = self.state.step, self.config
        if step % config.eval_every == 0 and progress_of(self.state, config) < 1:
            self.validate()
        due = time.monotonic() - self._last_checkpoint > 60 * config.checkpoint_every_minutes
        every = config.checkpoint_every_steps
        if self.accelerator.num_processes > 1:
            flag = [due]
            broadcast_object_list(flag)
            due = flag[0]
        if due or (every and step % every == 0):
            self.save_checkpoint()

    def validate(self) -> dict[str, float]:
        """Measure on the validation documents and log it; empty if there are none."""
        if not self.validation or not self.accelerator.is_main_process:
            return {}
        with self.ema.applied() if self.ema else nullcontext(), self._autocast():
            found = evaluate(self.model, self.validation, self.tokenizer, self.accelerator.device)
        self.run.log_metrics(
            self.state.step, {f"validation/{key}": value for key, value in found.items()}
        )
        text = ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in found.items())
        self.run.log(f"step {self.state.step}: validation {text}")
        return found

    def _autocast(self) -> torch.autocast:
        return autocast(self.accelerator.device, self.bf16)

    def save_checkpoint(self) -> None:
        """Write a checkpoint of this moment."""
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            state = {
                "train": self.state.to_dict(),
                "optimizer": self.optimizer.state_dict(),
                "ema": self.ema.averages if self.ema else None,
                "torch_rng": torch.get_rng_state(),
            }
            path = self.store.save(self.state.step, state, self._write_model)
            self._plot()
            registry().emit(
                "checkpoint_saved", run_dir=self.run.path, path=path, step=self.state.step
            )
        self.accelerator.wait_for_everyone()
        self._last_checkpoint = time.monotonic()

    def _plot(self) -> None:
        """Draw the loss curve, at most every half minute: drawing takes a second."""
        if time.monotonic() - self._last_plot > PLOT_EVERY_S:
            plot_losses(self.run.metrics_path, self.run.path)
            self._last_plot = time.monotonic()

    def _write_model(self, directory: Path) -> None:
        save_pretrained(self.model, self.tokenizer, directory)

    def _resume(self) -> None:
        checkpoint = self.store.latest()
        if checkpoint is None:
            self.run.rewind(0)
            return
        saved = load_state(checkpoint)
        weights = read_weights(checkpoint)
        own = own_weights(self.model)
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(weights[name])
        self.optimizer.load_state_dict(saved["optimizer"])
        if self.ema and saved["ema"] is not None:
            self.ema.load(saved["ema"])
        torch.set_rng_state(saved["torch_rng"])
        self.state = TrainState.from_dict(saved["train"])
        self._window = _Window(self.state)
        if self.accelerator.is_main_process:
            self.run.rewind(self.state.step)
            self.run.log(f"continuing from {checkpoint.name}")

    def _finish(self) -> Path:
        self.validate()
        self._last_plot = -math.inf
        self.save_checkpoint()
        final = self.run.path / "model"
        if self.accelerator.is_main_process:
            with self.ema.applied() if self.ema else nullcontext():
                save_pretrained(self.model, self.tokenizer, final)
        self.accelerator.wait_for_everyone()
        return final


class _Window:
    """Means since the last line of metrics."""

    def __init__(self, state: TrainState | None = None) -> None:
        self._losses: list[float] = []
        self._tokens = state.tokens if state else 0
        self._start = self._now = state.elapsed_s if state else 0.0
        self._end = self._tokens

    def add(self, loss: float, state: TrainState) -> None:
        if math.isfinite(loss):
            self._losses.append(loss)
        self._now, self._end = state.elapsed_s, state.tokens

    @property
    def loss(self) -> float:
        return sum(self._losses) / len(self._losses) if self._losses else math.nan

    @property
    def tokens_per_s(self) -> float:
        return (self._end - self._tokens) / max(self._now - self._start, 1e-9)

    def shown(self) -> dict[str, str]:
        return {"tokens/s": f"{self.tokens_per_s:,.0f}"}
