"""Memory of one GPU in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from cwm_train.model.loss import CHUNK_BYTES
from cwm_train.plan.config import PlanConfig
from cwm_train.plan.shape import Parameters, count_parameters, kept_bytes, model_shape, state_bytes

GRADIENTS, ACTIVATIONS, WORKING, LOSS = "gradients", "activations", "one layer at work", "loss"

CONTEXT_BYTES = 2 * 2**30
"""What CUDA, its libraries and the buffers of NCCL take."""


@dataclass(frozen=True)
class Part:
    """One figure of a plan."""

    name: str
    value: float
    formula: str


def peak(config: PlanConfig, parts: list[Part]) -> Part:
    """Return the memory at the worst moment of a step, in bytes."""
    size = {part.name: part.value for part in parts}
    gradients, activations = size[GRADIENTS], size[ACTIVATIONS]
    backward = activations + size[WORKING]
    forward_end, backward_end = activations + size[LOSS], gradients + size[WORKING]
    fixed = sum(size.values()) - gradients - activations - size[WORKING] - size[LOSS]
    if config.accumulate > 1:
        value = fixed + gradients + max(forward_end, backward)
        text = "all but: the larger of loss and one layer at work"
    else:
        value = fixed + max(forward_end, backward, backward_end)
        text = (
            "what stays + the largest of: activations + loss, activations + one layer, "
            "gradients + one layer"
        )
    return Part("peak", value, text)


def memory_parts(config: PlanConfig) -> list[Part]:
    """Return what lies in the memory of one GPU at one moment or another of a step, in bytes."""
    shape = model_shape(config.model)
    return _Memory(config, count_parameters(shape)).parts()


class _Memory:
    def __init__(self, config: PlanConfig, count: Parameters) -> None:
        self.config, self.count, self.shape = config, count, model_shape(config.model)
        self.sizes = config.sizes
        self.own = count.total / (self.sizes.shards * self.sizes.tensor)

    def parts(self) -> list[Part]:
        found: list[Callable[[], Part]] = [
            self.weights, self.gradients, self.optimizer, self.averages, self.gathered,
            self.activations, self.working, self.head, self.context,
        ]  # fmt: skip
        parts = [part() for part in found]
        return [part for part in parts if part.value]

    def weights(self) -> Part:
        return Part("weights", 4 * self.own, "4 bytes (fp32) x parameters / (shards x tensor)")

    def gradients(self) -> Part:
        return Part(GRADIENTS, 4 * self.own, "4 bytes (fp32) x parameters / (shards x tensor)")

    def optimizer(self) -> Part:
        matrices, rest = state_bytes(self.config.optimizer, self.shape)
        share = self.count.matrices / self.count.total
        per = matrices * share + rest * (1 - share)
        return Part(
            "optimizer state",
            per * self.own,
            f"{per:.2f} bytes (measured on a small model) x parameters / (shards x tensor)",
        )

    def averages(self) -> Part:
        value = 4 * self.own if self.config.ema else 0
        return Part("averaged weights", value, "4 bytes x parameters / (shards x tensor)")

    def gathered(self) -> Part:
        """Weights that are whole at one moment, and the gradient on its way to its owners."""
        if self.sizes.shards * self.sizes.tensor == 1 and self.sizes.replicate == 1:
            return Part("gathered weights", 0, "")
        size, tensor, count = self.config.element_bytes, self.sizes.tensor, self.count
        if self.config.parallel.reshard_after_forward:
            value = (size * (2 * count.layer + count.ends) + (size + 4) * count.layer) / tensor
            text = "(size x (2 layers + ends) + (size + 4) x gradient of a layer) / tensor"
        else:
            value = (size * count.total + (size + 4) * count.layer) / tensor
            text = "(size x parameters + (size + 4) x gradient of a layer) / tensor"
        return Part("gathered weights", value, text)

    def layer_bytes(self) -> float:
        """Activations that one layer keeps."""
        size, tensor = self.config.element_bytes, self.sizes.tensor
        dtype = torch.float32 if size == 4 else torch.bfloat16
        whole = kept_bytes(self.shape, self.config.part_tokens, dtype)
        inputs = 2 * size * self.config.part_tokens * self.shape.hidden_size
        return whole / tensor + inputs * (1 - 1 / tensor)

    def activations(self) -> Part:
        layers, size = self.shape.num_hidden_layers, self.config.element_bytes
        tokens, width = self.config.part_tokens, self.shape.hidden_size
        tensor = self.sizes.tensor
        if self.config.recompute == "none":
            value, text = layers * self.layer_bytes(), "layers x what autograd keeps of a layer"
        elif self.config.recompute == "full":
            value = layers * size * tokens * width / tensor
            text = "layers x size x tokens x width / tensor"
        else:
            queries = self.shape.num_attention_heads * self.shape.head_dim
            keys = self.shape.num_key_value_heads * self.shape.head_dim
            value = layers * size * tokens * (3 * width + 2 * queries + 2 * keys) / tensor
            text = "layers x size x tokens x (3 width + 2 queries + 2 keys) / tensor"
        return Part(ACTIVATIONS, value, text)

    def working(self) -> Part:
        """One layer while its backward pass runs."""
        shape, tokens = self.shape, self.config.part_tokens
        numbers = 3 * shape.intermediate_size + 2 * shape.hidden_size
        value = self.config.element_bytes * tokens * numbers / self.sizes.tensor
        text = "size x tokens x (3 feed-forward width + 2 width) / tensor"
        if self.config.recompute != "none":
            value, text = value + self.layer_bytes(), text + " + what a whole layer keeps"
        return Part(WORKING, value, text)

    def head(self) -> Part:
        """A chunk of logits, gradient of the head, hidden states before and after the norm."""
        tokens, width = self.config.part_tokens, self.shape.hidden_size
        size, tensor = self.config.element_bytes, self.sizes.tensor
        logits = (size + 4) * min(CHUNK_BYTES // 4, tokens * self.shape.vocab_size // tensor)
        weight = 4 * self.shape.vocab_size * width / tensor
        return Part(
            LOSS,
            logits + weight + 5 * size * tokens * width,
            "(size + 4) x chunk of logits + 4 bytes x vocabulary x width / tensor "
            "+ 5 size x tokens x width",
        )

    def context(self) -> Part:
        return Part("CUDA and NCCL", CONTEXT_BYTES, "assumed")
