"""The training loop: batches in, a model out."""

from __future__ import annotations

import math
import time
from contextlib import closing, nullcontext
from pathlib import Path

import torch
from accelerate.state import PartialState
from accelerate.utils import broadcast_object_list

from cwm_core.errors import RunError
from cwm_core.plugins import registry
from cwm_core.rundir import RunDir
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.checkpoint.hf import save_pretrained
from cwm_train.checkpoint.store import CheckpointStore, newest_checkpoint
from cwm_train.checkpoint.tensors import whole_weights
from cwm_train.data.batch import Batch, collate
from cwm_train.data.stream import PackedStream
from cwm_train.loop.config import TrainConfig
from cwm_train.loop.ema import Ema
from cwm_train.loop.evaluate import evaluate
from cwm_train.loop.gradients import choose_gradients
from cwm_train.loop.interrupt import Interrupt
from cwm_train.loop.precision import autocast, wants_bf16
from cwm_train.loop.saving import Saving
from cwm_train.loop.stability import Stability
from cwm_train.loop.state import TrainState, progress_of
from cwm_train.loop.watch import Watch
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.parallel.batch import share_of
from cwm_train.parallel.gradients import clip
from cwm_train.parallel.mesh import Grid


class Trainer:
    """Trains one model in one run directory; continues from its newest good checkpoint."""

    def __init__(
        self,
        config: TrainConfig,
        run: RunDir,
        model: CwmForCausalLM,
        tokenizer: Tokenizer,
        stream: PackedStream,
        validation: list[Batch],
        device: torch.device,
        grid: Grid | None = None,
    ) -> None:
        self.config, self.run, self.device, self.grid = config, run, device, grid
        self.model, self.tokenizer = model, tokenizer
        self.stream, self.validation = stream, validation
        self.optimizer = config.optimizer.build(model.named_parameters())
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.bf16 = wants_bf16(config.precision, device)
        self.gradients = choose_gradients(config, model, device, grid, self.bf16)
        self.schedule = config.schedule.build()
        self.ema = Ema(model, config.ema) if config.ema else None
        self.state = TrainState()
        self.store = CheckpointStore(run.path / "checkpoints", config.keep_checkpoints)
        self.saving = Saving(self.store, model, tokenizer, self.optimizer, self.ema)
        self.processes = PartialState()
        self._last_checkpoint = time.monotonic()

    def fit(self) -> Path:
        """Train until the budget is used; return the directory of the final model.

        Ctrl-C and SIGTERM write a checkpoint first. Raises `RunError` when too many steps in a
        row had to be skipped, or the disk refuses a checkpoint.
        """
        self._begin()
        watch = Watch(self.run, self.config, self.state, self.model, self.processes, self.stream)
        stability = Stability(self.config.spike_sigmas, self.state.recent)
        with closing(self.store), closing(self.gradients), Interrupt() as interrupt, watch:
            clock = time.monotonic() - self.state.elapsed_s
            while True:
                used, stop, save = self._agree(interrupt.requested)
                if save or stop:
                    self.save_checkpoint()
                if used >= 1 or stop:
                    break
                loss, norm = self._step(used, stability)
                self.state.elapsed_s = time.monotonic() - clock
                watch.step(loss, norm, used, self.optimizer)
                ended = progress_of(self.state, self.config) >= 1
                if self.state.step % self.config.eval_every == 0 and not ended:
                    self.validate()
            if stop:
                self.store.wait()
                interrupt.leave()
            return self._finish(watch)

    def _agree(self, stop: bool) -> tuple[float, bool, bool]:
        """Return the used share of the budget, whether to stop and whether a checkpoint is due.

        The first process decides for all by its clock and the signals that it got: processes that
        leave the loop at different steps would wait for one another for ever.
        """
        self.store.raise_if_failed()
        minutes = (time.monotonic() - self._last_checkpoint) / 60
        every = self.config.checkpoint_every_steps
        save = minutes > self.config.checkpoint_every_minutes
        save = save or bool(every and self.state.step and self.state.step % every == 0)
        found = [(progress_of(self.state, self.config), stop, save)]
        if self.processes.num_processes > 1:
            broadcast_object_list(found)
        used, stop, save = found[0]
        return used, stop, save and self.state.step != self.saving.last_step

    def _step(self, used: float, stability: Stability) -> tuple[float, float]:
        """Do one optimizer step; return loss per token (nats) and gradient norm."""
        begin = self.state.position
        parts, labelled = self._next_batch()
        self._set_rates(used)
        loss = self._backward(parts, labelled)
        norm = clip(self.model.parameters(), self.config.grad_clip)
        problem = stability.problem(loss=loss, gradient_norm=norm)
        if problem is None:
            self.optimizer.step()
            self.state.bad_steps = 0
            if self.ema:
                self.ema.update(self.state.step)
        else:
            self._skip(f"{problem} (batch from row {begin.row} of round {begin.round} on)")
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        return loss, norm

    def _set_rates(self, used: float) -> None:
        start, end = self.config.schedule_span
        self.state.schedule = start + used * (end - start)
        factor = self.schedule(self.state.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def _next_batch(self) -> tuple[list[Batch], int]:
        """Return this process's parts of the next batch and the labelled tokens of the whole."""
        config = self.config
        rows = config.batch_tokens // config.sequence_length
        documents, self.state.position = self.stream.take(self.state.position, rows)
        whole = collate(documents, config.sequence_length)
        self.state.tokens += whole.tokens
        self.state.loss_tokens += whole.loss_tokens
        own = share_of(whole, self.grid) if self.grid else whole
        size = math.ceil(len(own.ids_bt) / max(config.accumulate, self.gradients.at_once))
        return own.to(self.device).split(size), whole.loss_tokens

    def _backward(self, parts: list[Batch], labelled: int) -> float:
        """Accumulate the gradient of the mean loss over all labelled tokens; return that mean."""
        scale = 1 / max(labelled, 1)
        return float(self.gradients.add(parts, scale)) * scale

    def _skip(self, problem: str) -> None:
        self.state.bad_steps += 1
        self.state.skipped_steps += 1
        self.run.log(f"step {self.state.step} skipped: {problem}")
        if self.state.bad_steps > self.config.max_bad_steps:
            raise RunError(
                f"{self.state.bad_steps} steps in a row were skipped, the last one, "
                f"{self.state.step}, because {problem}",
                "lower the learning rate, check the data, or use precision=fp32; the last "
                f"checkpoints are in {self.store.directory}",
            )

    def validate(self) -> None:
        """Measure on the validation documents, and as plugins do, and log it."""
        found: dict[str, float] = {}
        with self.ema.applied() if self.ema else nullcontext(), autocast(self.device, self.bf16):
            if self.validation:
                found = evaluate(
                    self.model, self.validation, self.tokenizer, self.device, self.grid
                )
            registry().emit(
                "validation",
                model=self.model,
                tokenizer=self.tokenizer,
                step=self.state.step,
                metrics=found,
            )
        if not found:
            return
        values = {f"validation/{key}": value for key, value in found.items()}
        self.run.log_metrics(self.state.step, values)
        text = ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in found.items())
        self.run.log(f"step {self.state.step}: validation {text}")

    def save_checkpoint(self) -> None:
        """Write a checkpoint of this moment, beside the training."""
        step = self.state.step
        self.saving.save(
            self.state,
            lambda path: registry().emit(
                "checkpoint_saved", run_dir=self.run.path, path=path, step=step
            ),
        )
        self._last_checkpoint = time.monotonic()

    def _begin(self) -> None:
        """Continue this run, or begin it with what another one leaves it."""
        found = self.saving.resume()
        if found is not None:
            checkpoint, self.state = found
            self.run.rewind(self.state.step)
            self.run.log(f"continuing from {checkpoint.name}")
        elif self.config.carry_optimizer and self.config.init_from is not None:
            checkpoint = newest_checkpoint(self.config.init_from)
            before = self.saving.carry_optimizer(checkpoint)
            start = self.config.schedule_span[0]
            self.run.log(
                f"weights and optimizer state from {checkpoint}, {before.tokens:,} tokens; the "
                f"schedule, {before.schedule:.4f} there, is {start:.4f} here"
            )

    def _finish(self, watch: Watch) -> Path:
        self.validate()
        if self.saving.last_step != self.state.step:
            self.save_checkpoint()
        final = self.run.path / "model"
        with self.ema.applied() if self.ema else nullcontext():
            weights = whole_weights(self.model)
            if self.processes.is_main_process:
                save_pretrained(self.model, self.tokenizer, final, weights)
        self.store.wait()
        watch.finish()
        self.processes.wait_for_everyone()
        return final
