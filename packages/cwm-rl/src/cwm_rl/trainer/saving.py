"""What a checkpoint holds: weights, optimizer state, counters, and the groups learnt from.

All of it is of one moment: a run that continues from a checkpoint has learnt from exactly the
groups that the checkpoint names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cwm_core.text.tokenizer import Tokenizer
from cwm_rl.trainer.state import RlState
from cwm_train.checkpoint.hf import save_description
from cwm_train.checkpoint.store import CheckpointStore
from cwm_train.checkpoint.tensors import (
    MODEL,
    OPTIMIZER,
    TENSORS,
    model_tensors,
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
)
from cwm_train.loop.saving import read_facts
from cwm_train.model.transformer import CwmForCausalLM

FACTS = "rl"


class RlSaving:
    """Moves the state of a trainer into checkpoints and back."""

    def __init__(
        self,
        store: CheckpointStore,
        model: CwmForCausalLM,
        tokenizer: Tokenizer,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        self.store = store
        self.last_step: int | None = None
        """Step of the newest checkpoint."""
        self._model, self._tokenizer, self._optimizer = model, tokenizer, optimizer

    def save(self, state: RlState, saved: Callable[[Path], None]) -> None:
        """Write a checkpoint of this moment in the background; `saved` gets its directory."""
        self.last_step = state.step
        self.store.save(
            state.step,
            self._tensors(),
            {FACTS: state.to_dict()},
            lambda directory: save_description(self._model, self._tokenizer, directory),
            saved,
        )

    def resume(self) -> RlState | None:
        """Restore all from the newest good checkpoint; `None` if there is none.

        Raises DataError for a checkpoint of another model or optimizer.
        """
        checkpoint = self.store.latest()
        if checkpoint is None:
            return None
        tensors = self._tensors()
        read_tensors(tensors, checkpoint / TENSORS, self.store.group)
        restore_optimizer(self._model, self._optimizer, tensors[OPTIMIZER])
        state = RlState.from_dict(read_facts(checkpoint)[FACTS])
        self.last_step = state.step
        return state

    def settled(self, used: dict[int, int]) -> list[int]:
        """Return the groups of `used` that every checkpoint on the disk knows as used."""
        known = [RlState.from_dict(read_facts(path)[FACTS]).used for path in self.store.all()]
        if not known:
            return []
        return sorted(group for group in used if all(group in each for each in known))

    def _tensors(self) -> dict[str, Any]:
        return {
            MODEL: model_tensors(self._model),
            OPTIMIZER: optimizer_tensors(self._model, self._optimizer),
        }
