"""The gradient of one optimizer step, from the parts of its batch.

Small models do not keep several CPU cores busy inside one operation. So on a CPU the parts of a
batch are computed side by side, each on one core, in processes that share the memory of the
parameters: threads would wait for the interpreter lock for a fifth of the time. Gradients are
added in the order of the parts: the result does not depend on which process is first.
"""

from __future__ import annotations

import signal
import traceback
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol

import torch
import torch.multiprocessing
from torch import Tensor, nn

from cwm_core.cores import usable_cores
from cwm_core.errors import RunError
from cwm_train.data.batch import Batch
from cwm_train.loop.config import TrainConfig
from cwm_train.loop.precision import autocast
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.parallel.gradients import SpreadGradients
from cwm_train.parallel.mesh import Grid

SMALL = 8_000_000
"""Parameters up to which parts are computed side by side; larger products use all cores."""


class Gradients(Protocol):
    """A way to the gradient of a step."""

    at_once: int
    """Parts of a batch that are computed at the same time."""

    def add(self, parts: list[Batch], scale: float) -> Tensor:
        """Add `scale` times the gradient to the parameters; return the loss summed over all."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


def choose_gradients(
    config: TrainConfig,
    model: CwmForCausalLM,
    device: torch.device,
    grid: Grid | None,
    bf16: bool,
) -> Gradients:
    """Return the fastest way to the gradient for a model on its device and processes."""
    if grid is not None:
        return SpreadGradients(model, grid)
    parts = parallel_parts(config, device, model)
    return SideBySideGradients(model, parts, bf16) if parts > 1 else SerialGradients(model, bf16)


def parallel_parts(config: TrainConfig, device: torch.device, model: CwmForCausalLM) -> int:
    """Return how many parts of a batch to compute at once; 1: torch's threads share each operation.

    A large or compiled model, one that lives on another device than the CPU, and one whose
    attention cannot be pickled take one.
    """
    if device.type != "cpu" or config.compile:
        return 1
    if sum(p.numel() for p in model.parameters()) > SMALL:
        return 1
    if not _can_be_sent(model.model.attention):
        return 1
    rows = config.batch_tokens // config.sequence_length
    return min(rows, config.threads or usable_cores())


def _can_be_sent(attention: object) -> bool:
    try:
        ForkingPickler.dumps(attention)
    except Exception:  # whatever a third party's object raises
        return False
    return True


def _loss(model: Any, part: Batch, bf16: bool) -> Tensor:
    """Summed loss of a part, the matrix products in bf16 if so wanted."""
    with autocast(part.ids_bt.device, bf16):
        return model(part.ids_bt, part.positions_bt, part.document_bt, labels_bt=part.labels_bt)


def _gradients(
    model: Any, part: Batch, scale: float, bf16: bool
) -> tuple[float, tuple[Tensor, ...]]:
    """Return the summed loss of a part and the gradient of `scale` times it."""
    loss = _loss(model, part, bf16)
    parameters = _trained(model)
    gradients = torch.autograd.grad(loss * scale, parameters, materialize_grads=True)
    return float(loss.detach()), gradients


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


class SerialGradients:
    """One part after the other, on any device."""

    at_once = 1

    def __init__(self, model: nn.Module, bf16: bool = False) -> None:
        self._model, self._bf16 = model, bf16

    def add(self, parts: list[Batch], scale: float) -> Tensor:
        """Add `scale` times the gradient to the parameters; return the summed loss."""
        total = torch.zeros((), device=parts[0].ids_bt.device)
        for part in parts:
            loss = _loss(self._model, part, self._bf16)
            (loss * scale).backward()
            total += loss.detach()
        return total

    def close(self) -> None:
        """Do nothing: there is nothing to end."""


class SideBySideGradients:
    """Parts side by side on the cores of one machine: the first here, the others in helpers."""

    def __init__(self, model: nn.Module, parts: int, bf16: bool = False) -> None:
        # threads of an operation wait for each other actively: together with other processes, or
        # with anything else that runs, they would take turns instead of working
        torch.set_num_threads(1)
        model.share_memory()
        self._model, self._bf16, self.at_once = model, bf16, parts
        self._parameters = _trained(model)
        self._helpers = [_Helper(model, bf16) for _ in range(parts - 1)]

    def add(self, parts: list[Batch], scale: float) -> Tensor:
        """Add `scale` times the gradient to the parameters; return the summed loss.

        Raises RunError when a helper died.
        """
        total, width = 0.0, 1 + len(self._helpers)
        for start in range(0, len(parts), width):
            own, *others = parts[start : start + width]
            helpers = self._helpers[: len(others)]
            for helper, part in zip(helpers, others):
                helper.begin(part, scale)
            loss, gradients = _gradients(self._model, own, scale, self._bf16)
            total += loss
            self._add(gradients)
            for helper in helpers:
                loss, gradients = helper.result()
                total += loss
                self._add(gradients)
        return torch.tensor(total)

    def _add(self, gradients: tuple[Tensor, ...]) -> None:
        for parameter, gradient in zip(self._parameters, gradients):
            if parameter.grad is None:
                parameter.grad = gradient.clone()
            else:
                parameter.grad += gradient

    def close(self) -> None:
        """End the helpers."""
        for helper in self._helpers:
            helper.close()


class _Helper:
    """A process that computes gradients into shared memory."""

    def __init__(self, model: nn.Module, bf16: bool) -> None:
        # a clean process to fork from: autograd does not survive the fork of one that has used it
        context = torch.multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._shared = tuple(torch.zeros_like(p).share_memory_() for p in _trained(model))
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_help, args=(model, bf16, self._shared, theirs), name="gradients", daemon=True
        )
        self._process.start()
        theirs.close()

    def begin(self, part: Batch, scale: float) -> None:
        arrays = [x.numpy() for x in (part.ids_bt, part.positions_bt, part.document_bt)]
        self._talk(self._pipe.send, ([*arrays, part.labels_bt.numpy()], scale))

    def result(self) -> tuple[float, tuple[Tensor, ...]]:
        loss, problem = self._talk(self._pipe.recv)
        if problem:
            raise RunError(f"a process that computes gradients failed: {problem}", "set threads=1")
        return loss, self._shared

    def _talk(self, say: Any, *what: Any) -> Any:
        try:
            return say(*what)
        except (EOFError, OSError):
            raise RunError(
                f"a process that computes gradients died (exit code {self._process.exitcode})",
                "is memory short? threads=1 trains without such processes",
            ) from None

    def close(self) -> None:
        self._pipe.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()


def _help(model: nn.Module, bf16: bool, shared: tuple[Tensor, ...], pipe: Connection) -> None:
    """Answer requests until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides when to stop
    torch.set_num_threads(1)
    while True:
        try:
            arrays, scale = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            part = Batch(*map(torch.from_numpy, arrays))
            loss, gradients = _gradients(model, part, scale, bf16)
            for place, gradient in zip(shared, gradients):
                place.copy_(gradient)
            pipe.send((loss, ""))
        except Exception:
            pipe.send((0.0, traceback.format_exc(limit=-3)))
