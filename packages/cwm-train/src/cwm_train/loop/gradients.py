"""The gradient of one optimizer step, from the parts of its batch.

Small models do not keep several CPU cores busy inside one operation. So on a CPU the parts of a
batch are computed side by side, each in a thread of its own on one core; torch releases the
interpreter lock while it computes. Gradients are added in the order of the parts: the result does
not depend on which thread is first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from cwm_core.cores import usable_cores
from cwm_train.data.batch import Batch
from cwm_train.loop.config import TrainConfig


def parallel_parts(config: TrainConfig, accelerator: Accelerator) -> int:
    """Return how many parts of a batch to compute at once; 1: torch's threads share each operation.

    A compiled model and one that is spread over processes or lives on another device take one.
    """
    if accelerator.device.type != "cpu" or accelerator.num_processes > 1 or config.compile:
        return 1
    rows = config.batch_tokens // config.sequence_length
    return min(rows, config.threads or usable_cores())


def _loss(model: Any, part: Batch) -> Tensor:
    """Summed loss of a part."""
    return model(part.ids_bt, part.positions_bt, part.document_bt, labels_bt=part.labels_bt)


class SerialGradients:
    """One part after the other; works with any number of processes and on any device."""

    def __init__(self, accelerator: Accelerator, model: Any) -> None:
        self._accelerator, self._model = accelerator, model

    def add(self, parts: list[Batch], scale: float) -> Tensor:
        """Add `scale` times the gradient to the parameters; return this process's summed loss."""
        total = torch.zeros((), device=self._accelerator.device)
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            with nullcontext() if last else self._accelerator.no_sync(self._model):
                loss = _loss(self._model, part)
                # DDP averages gradients over processes; the mean is over tokens of all of them
                self._accelerator.backward(loss * (scale * self._accelerator.num_processes))
            total += loss.detach()
        return total


class ThreadedGradients:
    """Parts side by side in threads, for one process on a CPU."""

    def __init__(self, model: Any, threads: int) -> None:
        self._model = model
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        # threads of an operation wait for each other actively: together with these threads, or
        # with anything else that runs, they would take turns instead of working
        torch.set_num_threads(1)
        self._pool = ThreadPoolExecutor(threads, "gradients", lambda: torch.set_num_threads(1))

    def add(self, parts: list[Batch], scale: float) -> Tensor:
        """Add `scale` times the gradient to the parameters; return the summed loss."""
        total = torch.zeros(())
        for loss, gradients in self._pool.map(lambda part: self._of(part, scale), parts):
            total += loss
            for parameter, gradient in zip(self._parameters, gradients):
                if parameter.grad is None:
                    parameter.grad = gradient
                else:
                    parameter.grad += gradient
        return total

    def _of(self, part: Batch, scale: float) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = _loss(self._model, part)
        gradients = torch.autograd.grad(loss * scale, self._parameters, materialize_grads=True)
        return loss.detach(), gradients
