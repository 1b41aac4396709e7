"""Tokens of a batch through the decoding step in C, in fp32 on CPUs.

A step of a small model takes torch mostly calls between operations; here it is one call. It reads
the model's own weights, so that updates in place reach it. Unlike torch's products it adds up a
row's numbers in an order that does not depend on the other rows.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from cwm_train.generate.decode import LayerWeights
from cwm_train.generate.forward import ForwardStep
from cwm_train.generate.native_library import Decoder, Layer, Tokens, load
from cwm_train.model.cache import KVCache
from cwm_train.model.transformer import CwmForCausalLM

MOST_BYTES = 2**26
"""Larger layers do not stay in a processor's caches, and torch has its threads share them."""
LONG_PIECE = 128
"""Pieces from this length on, of fewer rows than threads, are torch's, which has all threads."""
THREAD_PRODUCTS = 2_000_000
"""Multiplications that are worth waking a thread for: some tens of microseconds."""
LANES = 8


def applies(model: CwmForCausalLM) -> bool:
    """Whether a model can be computed in C, and better so than by torch."""
    config = model.config
    widths = (config.hidden_size, config.intermediate_size, config.head_dim)
    parameters = list(model.parameters())
    return (
        load()[0] is not None
        and all(width % LANES == 0 for width in widths)
        and all(p.device.type == "cpu" and p.dtype == torch.float32 for p in parameters)
        and all(p.is_contiguous() for p in parameters)
        and sum(p.nbytes for p in model.model.layers.parameters()) <= MOST_BYTES
    )


class NativeStep(ForwardStep):
    """The decoder over the rows of a cache; `applies` must be true of the model."""

    def __init__(self, model: CwmForCausalLM, cache: KVCache) -> None:
        super().__init__(model, cache)
        library, reason = load()
        if library is None:
            raise RuntimeError(reason)
        self._library, config, decoder = library, model.config, model.model
        self._weights = [LayerWeights.of(layer) for layer in decoder.layers]
        self._frequencies_e = decoder.frequencies()
        self._products = sum(weight.numel() for weight in decoder.layers.parameters())
        self._layers = (Layer * len(self._weights))(
            *(_addresses(weights) for weights in self._weights)
        )
        self._decoder = Decoder(
            len(self._weights),
            config.hidden_size,
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
            config.intermediate_size,
            config.vocab_size,
            eps=config.rms_norm_eps,
            embedding=decoder.embed_tokens.weight.data_ptr(),
            frequencies=self._frequencies_e.data_ptr(),
            norm=decoder.norm.weight.data_ptr(),
            lm_head=model.lm_head.weight.data_ptr(),
            layers=self._layers,
        )

    def fill(
        self, rows: Sequence[int], starts: Sequence[int], pieces: Sequence[Sequence[int]]
    ) -> None:
        """Put a piece of a prompt into each of some rows, from the given position on."""
        if max(map(len, pieces)) >= LONG_PIECE and len(rows) < torch.get_num_threads():
            return super().fill(rows, starts, pieces)
        ends = [start + len(piece) for start, piece in zip(starts, pieces)]
        self._cache.reserve(max(rows) + 1, max(ends))
        ids_n = torch.tensor(list(chain.from_iterable(pieces)))
        counts = torch.tensor([len(piece) for piece in pieces])
        rows_n = torch.tensor(rows).repeat_interleave(counts)
        positions_n = torch.tensor(list(chain.from_iterable(map(range, starts, ends))))
        self._compute(ids_n, rows_n, positions_n)
        return None

    def __call__(self, ids_b: Tensor, positions_b: Tensor, used: int) -> Tensor:
        """Write a token to each of the first B rows at its position; return logits, (B, V)."""
        rows_b = torch.arange(len(ids_b))
        hidden_bd = torch.empty(len(ids_b), self._decoder.width)
        logits_bv = torch.empty(len(ids_b), self._decoder.vocabulary)
        self._compute(ids_b, rows_b, positions_b, hidden_bd, logits_bv)
        return logits_bv

    def _compute(
        self,
        ids_n: Tensor,
        rows_n: Tensor,
        positions_n: Tensor,
        hidden_nd: Tensor | None = None,
        logits_nv: Tensor | None = None,
    ) -> None:
        for layer, store in zip(self._layers, self._cache.layers):
            layer.store = store.data_ptr()
        worthwhile = len(ids_n) * self._products // THREAD_PRODUCTS
        self._decoder.slots = self._cache.slots
        self._decoder.threads = max(1, min(torch.get_num_threads(), worthwhile))
        given = (ids_n, rows_n, positions_n, hidden_nd, logits_nv)
        addresses = [None if each is None else each.data_ptr() for each in given]
        tokens = Tokens(len(ids_n), *addresses)
        if self._library.cwm_decode(ctypes.byref(self._decoder), ctypes.byref(tokens)):
            raise MemoryError("no memory for a decoding step")


def _addresses(weights: LayerWeights) -> Layer:
    tensors = (
        *(weights.norm_before, weights.qkv, weights.out),
        *(weights.norm_after, weights.gate_up, weights.down),
    )
    return Layer(weights.window or 0, *(each.data_ptr() for each in tensors))
