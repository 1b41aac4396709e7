"""What of a training run a checkpoint holds, and how a run gets it back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cwm_core.errors import DataError
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.checkpoint.hf import save_description
from cwm_train.checkpoint.store import FACTS, CheckpointStore
from cwm_train.checkpoint.tensors import (
    AVERAGES,
    MODEL,
    OPTIMIZER,
    RANDOM,
    TENSORS,
    model_tensors,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
)
from cwm_train.loop.ema import Ema
from cwm_train.loop.state import TrainState
from cwm_train.model.transformer import CwmForCausalLM


class Saving:
    """Moves the state of a training run into checkpoints and back."""

    def __init__(
        self,
        store: CheckpointStore,
        model: CwmForCausalLM,
        tokenizer: Tokenizer,
        optimizer: torch.optim.Optimizer,
        ema: Ema | None,
    ) -> None:
        self.store = store
        self.last_step: int | None = None
        """Step of the newest checkpoint."""
        self._model, self._tokenizer, self._optimizer, self._ema = model, tokenizer, optimizer, ema

    def save(self, state: TrainState, saved: Callable[[Path], None]) -> None:
        """Write a checkpoint of this moment in the background; `saved` gets its directory."""
        self.last_step = state.step
        self.store.save(
            state.step,
            self._tensors(),
            {"train": state.to_dict()},
            lambda directory: save_description(self._model, self._tokenizer, directory),
            saved,
        )

    def resume(self) -> tuple[Path, TrainState] | None:
        """Restore all from the newest good checkpoint and say which; `None` if there is none."""
        checkpoint = self.store.latest()
        if checkpoint is None:
            return None
        tensors = self._tensors()
        read_tensors(tensors, checkpoint / TENSORS, self.store.group)
        restore_optimizer(self._model, self._optimizer, tensors[OPTIMIZER])
        torch.set_rng_state(tensors[RANDOM])
        state = TrainState.from_dict(read_facts(checkpoint)["train"])
        self.last_step = state.step
        return checkpoint, state

    def carry_optimizer(self, checkpoint: Path) -> TrainState:
        """Take over the optimizer's state of another run; return how far that was.

        Raises `DataError` when it is no checkpoint, or one of another optimizer or model.
        """
        if not (checkpoint / TENSORS).is_dir():
            raise DataError(
                f"{checkpoint} is no checkpoint of a training run: it has no optimizer state",
                "give a run directory of `cwm train`, or set carry_optimizer=false",
            )
        tensors = {OPTIMIZER: optimizer_tensors(self._model, self._optimizer)}
        read_tensors(tensors, checkpoint / TENSORS, self.store.group)
        restore_optimizer(self._model, self._optimizer, tensors[OPTIMIZER])
        return TrainState.from_dict(read_facts(checkpoint)["train"])

    def _tensors(self) -> dict[str, Any]:
        return {
            MODEL: model_tensors(self._model),
            OPTIMIZER: optimizer_tensors(self._model, self._optimizer),
            AVERAGES: self._ema.named if self._ema else {},
            RANDOM: torch.get_rng_state(),
        }


def read_facts(checkpoint: Path) -> dict[str, Any]:
    """Return the counters of a checkpoint; raises `DataError` when they cannot be read."""
    try:
        facts: dict[str, Any] = json.loads((checkpoint / FACTS).read_text())
        return facts
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {checkpoint / FACTS}: {error}") from error
