"""The trainer: stored groups in, published weights out."""

from __future__ import annotations

import math
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from cwm_core.errors import RunError
from cwm_core.plugins import registry
from cwm_core.text.tokenizer import Tokenizer
from cwm_rl.board.beacon import Beacon
from cwm_rl.board.files import Offer, Progress, Published, RunFiles
from cwm_rl.rollout.group import Group
from cwm_rl.rollout.store import GroupStore
from cwm_rl.train_config import RlConfig
from cwm_rl.trainer.batch import Part, blank_like, episodes_of, parts_of, totals_of
from cwm_rl.trainer.choose import Queue
from cwm_rl.trainer.metrics import MetricsFile, group_metrics
from cwm_rl.trainer.publish import Publisher
from cwm_rl.trainer.saving import RlSaving
from cwm_rl.trainer.setup import build_learner
from cwm_rl.trainer.state import RlState
from cwm_train.checkpoint.hf import save_pretrained
from cwm_train.checkpoint.store import CheckpointStore
from cwm_train.checkpoint.tensors import whole_weights
from cwm_train.loop.interrupt import Interrupt
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.parallel.gradients import clip

POLL_S = 0.02
"""Between looks for new groups."""
MAX_BAD_STEPS = 10
"""Steps in a row that may be skipped for a loss or gradient that is no number."""


class RlTrainer:
    """Learns until the budget is used; continues from its newest good checkpoint.

    With several processes the first chooses, measures and writes; all compute.
    """

    def __init__(
        self,
        config: RlConfig,
        model: CwmForCausalLM,
        tokenizer: Tokenizer,
        device: torch.device,
        beacon: Beacon,
    ) -> None:
        self.config, self.model, self.tokenizer, self.device = config, model, tokenizer, device
        self.files = RunFiles(config.out)
        self.beacon = beacon
        self.learner, self.grid = build_learner(config, model, device)
        self.optimizer = config.optimizer.build(model.named_parameters())
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self.schedule = config.schedule.build() if config.schedule else None
        self.state = RlState()
        self.rank = distributed.get_rank() if self.grid else 0
        self.store = GroupStore(self.files.groups)
        self.queue = Queue(self.store, config.batch, config.max_staleness)
        self.checkpoints = CheckpointStore(self.files.checkpoints, config.keep_checkpoints)
        self.saving = RlSaving(self.checkpoints, model, tokenizer, self.optimizer)
        self.publisher = Publisher(self.files, model, tokenizer)
        self.metrics = MetricsFile(self.files.processes / "trainer.metrics.jsonl")
        self._published: Published | None = None
        self._durable: list[int] = []
        self._last_checkpoint = time.monotonic()

    def fit(self) -> Path:
        """Train until the budget is used; return the directory of the final model.

        SIGTERM writes a checkpoint first. Raises RunError when too many steps in a row had to be
        skipped or the disk refuses.
        """
        self.state = self.saving.resume() or self.state
        self._durable = self.saving.settled(self.state.used) if self.rank == 0 else []
        self._publish()
        with closing(self.checkpoints), Interrupt() as interrupt, self.metrics:
            clock = time.monotonic() - self.state.elapsed_s
            while True:
                self.state.elapsed_s = time.monotonic() - clock
                stop, save = self._agree(interrupt.requested)
                if (save or stop) and self.saving.last_step != self.state.step:
                    self._save()
                if stop:
                    break
                waited = time.monotonic()
                groups = self._wait_for_groups(interrupt)
                if groups:
                    self._step(groups, time.monotonic() - waited)
            if not self._is_finished():
                self.checkpoints.wait()
                interrupt.leave()
            return self._finish()

    # Groups

    def _wait_for_groups(self, interrupt: Interrupt) -> list[Group] | None:
        """Return the groups of the next step, `None` if it is time to look at the clock."""
        groups: list[Group] | None = None
        if self.rank == 0:
            until = time.monotonic() + 1.0
            with self.beacon.doing("waits for groups", "orchestrator"):
                while groups is None and time.monotonic() < until and not interrupt.requested:
                    offer = Offer.read(self.files.offer)
                    no_more = offer.step == self.state.step
                    groups = self.queue.take(self.state.step, self.state.used, no_more=no_more)
                    if self.queue.newly_stale:
                        self._give_up(self.queue.newly_stale)
                    if groups is None and no_more and offer.end:
                        break
                    if groups is None:
                        time.sleep(POLL_S)
        return self._from_first(groups)

    def _give_up(self, groups: list[int]) -> None:
        for group in groups:
            self.state.used[group] = -1
        self._tell()

    def _from_first(self, value: Any) -> Any:
        if self.grid is None:
            return value
        box = [value]
        distributed.broadcast_object_list(box)
        return box[0]

    # Steps

    def _step(self, groups: list[Group], waited_s: float) -> None:
        started = time.monotonic()
        episodes = episodes_of(groups)
        totals = totals_of(episodes)
        self._set_rates()
        with self.beacon.doing("learns"):
            sums = self.learner.add_gradient(self._own_parts(episodes), totals)
            norm = clip(self.model.parameters(), self.config.grad_clip)
            if self._is_good(norm):
                self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        ages = group_metrics(groups, self.state.step)
        self._count(groups, totals.tokens, totals.episodes)
        learnt_s = time.monotonic() - started
        published = time.monotonic()
        self._publish()
        if self.rank == 0 and self.state.step % self.config.log_every == 0:
            count = max(totals.tokens, 1)
            means = {name: value / count for name, value in sums.items()}
            self.metrics.write(
                self.state.step,
                {
                    **means,
                    **ages,
                    "loss": sums["loss"],
                    "largest_ratio": sums["largest_ratio"],
                    "grad_norm": norm,
                    "lr": self.optimizer.param_groups[0]["lr"],
                    "groups": len(groups),
                    "episodes": totals.episodes,
                    "tokens": totals.tokens,
                    "total_tokens": self.state.tokens,
                    "wait_s": waited_s,
                    "learn_s": learnt_s,
                    "publish_s": time.monotonic() - published,
                    "elapsed_s": self.state.elapsed_s,
                    "queue": len(self.queue) - len(groups),
                },
            )

    def _own_parts(self, episodes: list[Any]) -> list[Part]:
        """Return this process's share of the batch; all get equally many parts."""
        parts = parts_of(episodes, self.config.batch.row_tokens, self.config.batch.rows)
        if self.grid is not None:
            size, rank = self.grid.sizes.data, self.grid.data_rank
            rounds = math.ceil(len(parts) / size)
            own = parts[rank::size]
            parts = own + [blank_like(parts[0])] * (rounds - len(own))
        return [part.to(self.device) for part in parts]

    def _is_good(self, norm: float) -> bool:
        if math.isfinite(norm):
            self.state.bad_steps = 0
            return True
        self.state.bad_steps += 1
        if self.state.bad_steps > MAX_BAD_STEPS:
            raise RunError(
                f"the gradient of {self.state.bad_steps} steps in a row was no number",
                "lower optimizer.lr, or use precision=fp32",
            )
        return False

    def _count(self, groups: list[Group], tokens: int, episodes: int) -> None:
        self.state.step += 1
        self.state.tokens += tokens
        self.state.episodes += episodes
        for group in groups:
            self.state.used[group.id] = self.state.step

    def _set_rates(self) -> None:
        step, config = self.state.step, self.config
        factor = min(1.0, (step + 1) / max(1, config.warmup_steps))
        if self.schedule is not None and config.max_steps:
            factor = self.schedule(min(1.0, step / config.max_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    # What others see

    def _publish(self) -> None:
        with self.beacon.doing("publishes weights"):
            weights = whole_weights(self.model)
            if self.rank == 0:
                self._published = self.publisher.publish(self.state.step, weights)
                self._tell()

    def _tell(self, finished: bool = False) -> None:
        if self.rank != 0 or self._published is None:
            return
        durable = list(self.state.used) if finished else self._durable
        Progress(
            step=self.state.step,
            serial=self._published.serial,
            used=dict(self.state.used),
            durable=tuple(group for group in durable if group in self.state.used),
            tokens=self.state.tokens,
            finished=finished,
        ).write(self.files.progress)

    # Checkpoints

    def _agree(self, stop: bool) -> tuple[bool, bool]:
        """Return whether to stop and whether a checkpoint is due; the first process decides."""
        self.checkpoints.raise_if_failed()
        minutes = (time.monotonic() - self._last_checkpoint) / 60
        since = self.state.step - (self.saving.last_step or 0)
        save = since >= self.config.checkpoint_every_steps
        save = save or (since > 0 and minutes > self.config.checkpoint_every_minutes)
        finished = self._is_finished()
        found: tuple[bool, bool] = self._from_first((stop or finished, save))
        return found

    def _is_finished(self) -> bool:
        config, state = self.config, self.state
        steps = config.max_steps is not None and state.step >= config.max_steps
        minutes = config.max_minutes is not None and state.elapsed_s >= 60 * config.max_minutes
        offer = Offer.read(self.files.offer)
        mastered = offer.step == state.step and bool(offer.end)
        return bool(self._from_first(steps or minutes or mastered))

    def _save(self) -> None:
        with self.beacon.doing("saves a checkpoint"):
            self.checkpoints.wait()
            if self.rank == 0:  # what is settled by now is not needed any more
                self._durable = self.saving.settled(self.state.used)
                self._forget_deleted()
                self._tell()
            self.saving.save(self.state, self._saved)
        self._last_checkpoint = time.monotonic()

    def _saved(self, path: Path) -> None:
        registry().emit(
            "checkpoint_saved", run_dir=self.config.out, path=path, step=self.saving.last_step
        )

    def _forget_deleted(self) -> None:
        """Drop from `used` the settled groups whose files the orchestrator has put away."""
        settled = set(self._durable)
        gone = settled - set(self.store.ids())
        for group in gone:
            del self.state.used[group]
        self._durable = sorted(settled - gone)

    def _finish(self) -> Path:
        self.checkpoints.wait()
        final = self.config.out / "model"
        weights = whole_weights(self.model)
        if self.rank == 0:
            save_pretrained(self.model, self.tokenizer, final, weights)
            self._tell(finished=True)
        if self.grid is not None:
            distributed.barrier()
        return final
