"""Arithmetic, communication and time of one optimizer step."""

from __future__ import annotations

from dataclasses import dataclass

from cwm_train.model.config import CwmModelConfig
from cwm_train.plan.config import GPUS, PlanConfig
from cwm_train.plan.shape import count_parameters, model_shape

DAY_S = 86_400


def visible_keys(tokens: int, window: int | None) -> float:
    """Return how many keys a query of a document of `tokens` tokens sees on average."""
    reach = tokens if window is None else min(window, tokens)
    return reach - reach * (reach - 1) / (2 * tokens)


def attention_flops(config: CwmModelConfig, tokens: int) -> float:
    """Return FLOPs per token of scores and weighted values in all layers, forward only.

    Two products of 2 FLOPs per key, query head and number of the head: ``4 x queries x keys``
    (appendix B of arXiv 2204.02311, with the keys that windows and causality leave).
    """
    queries = config.num_attention_heads * config.head_dim
    layers = range(config.num_hidden_layers)
    return sum(4 * queries * visible_keys(tokens, config.window(layer)) for layer in layers)


def flops_per_token(config: CwmModelConfig, tokens: int) -> float:
    """Return the FLOPs of forward and backward pass per token: what MFU counts."""
    return 6 * count_parameters(config).products + 3 * attention_flops(config, tokens)


@dataclass(frozen=True)
class Step:
    """One optimizer step, in seconds."""

    compute_s: float
    """Products and recomputation at the assumed share of the peak."""
    sharding_s: float
    """Gathering weights and scattering gradients; overlaps with computing."""
    tensor_s: float
    """Activations between the processes that share matrices; nothing overlaps."""
    context_s: float
    """Keys and values of the process with most to fetch; nothing overlaps."""

    @property
    def total_s(self) -> float:
        """Expected time of the step."""
        return max(self.compute_s, self.sharding_s) + self.tensor_s + self.context_s


class Speed:
    """Figures of a plan that concern time."""

    def __init__(self, config: PlanConfig) -> None:
        self.config, self.shape = config, model_shape(config.model)
        self.count, self.sizes = count_parameters(self.shape), config.sizes
        self.gpu = GPUS[config.gpu]
        self.document = min(config.document_tokens or config.sequence_length,
                            config.sequence_length)  # fmt: skip
        self.flops_per_token = flops_per_token(self.shape, self.document)
        self.peak_flops = config.gpu_flops or self.gpu.flops(
            "float8" if config.float8 != "none" else config.precision
        )
        self.parts = config.accumulate

    def recomputed_per_token(self) -> float:
        """Return the FLOPs per token that the backward pass repeats."""
        if self.config.recompute == "none":
            return 0.0
        layers = self.shape.num_hidden_layers
        if self.config.recompute == "selective":  # the products into the feed-forward block
            return 2 * 2 * self.shape.hidden_size * self.shape.intermediate_size * layers
        return 2 * self.count.matrices + attention_flops(self.shape, self.document)

    def step(self) -> Step:
        """Return the times of one step."""
        tokens = self.config.rows * self.config.sequence_length
        flops = tokens * (self.flops_per_token + self.recomputed_per_token()) / self.config.gpus
        return Step(
            flops / (self.peak_flops * self.config.mfu),
            self._sharding_s(),
            self._tensor_s(),
            self._context_s(),
        )

    def _bandwidth(self, group: int) -> float:
        """Bytes per second within a group of neighbours of this size."""
        if group > self.config.gpus_per_node:
            return self.config.network_bytes_per_s
        return self.config.node_bytes_per_s or self.gpu.link

    def _sharding_s(self) -> float:
        shards, tensor, replicate = self.sizes.shards, self.sizes.tensor, self.sizes.replicate
        parameters = self.count.total / tensor
        gathers = 2 if self.config.parallel.reshard_after_forward else 1
        once = (gathers * self.config.element_bytes + 4) * parameters * (shards - 1) / shards
        copies = 2 * 4 * parameters / shards * (replicate - 1) / replicate
        seconds = self.parts * once / self._bandwidth(tensor * shards)
        return seconds + copies / self._bandwidth(self.config.gpus)

    def _tensor_s(self) -> float:
        tensor = self.sizes.tensor
        passes = 12 if self.config.recompute == "full" else 8
        tokens = self.config.part_tokens * self.parts
        once = tokens * self.shape.hidden_size * self.config.element_bytes * (tensor - 1) / tensor
        layers = self.shape.num_hidden_layers
        return passes * layers * once / self._bandwidth(tensor)

    def _context_s(self) -> float:
        context, tensor = self.sizes.context, self.sizes.tensor
        own = self.config.sequence_length // context
        before = min(self.document, self.config.sequence_length - own) if context > 1 else 0
        keys = self.shape.num_key_value_heads * self.shape.head_dim / tensor
        fetched = sum(
            min(before, (self.shape.window(layer) or before + 1) - 1)
            for layer in range(self.shape.num_hidden_layers)
        )
        passes = 3 if self.config.recompute == "full" else 2
        rows = self.config.part_rows * self.parts
        once = rows * fetched * 2 * keys * self.config.element_bytes
        return passes * once / self._bandwidth(tensor * context)
