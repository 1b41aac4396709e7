"""Our decoder and Hugging Face's `CwmForCausalLM` with the same weights and packed batches.

What `train_throughput.py` and `train_memory.py` compare. Both are trained by AdamW under an
`Accelerator` with bf16 autocast; Hugging Face's model is called as its documentation shows:
`position_ids` that start again at every document, attention `sdpa`, its own loss function.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import AdamW

from cwm_train.data.batch import Batch, collate
from cwm_train.data.document import Document
from cwm_train.model.config import Cwm150m, CwmMini, CwmModelConfig

VOCABULARY = 128_256
SHAPES: dict[str, CwmModelConfig] = {
    "mini": CwmMini(init="normal"),
    "40m": CwmModelConfig(
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        sliding_window=512,
        tie_word_embeddings=True,
    ),
    "150m": Cwm150m(sliding_window=512),
}
"""A laptop's model with a small vocabulary, and two with the vocabulary of the release."""


def packed_batch(vocabulary: int, rows: int, length: int, median: float, seed: int) -> Batch:
    """Return rows full of documents with log-normal lengths, all tokens but the first labelled."""
    draw = np.random.default_rng(seed)
    packed = []
    for _ in range(rows):
        row, left = [], length
        while left:
            tokens = min(left, max(2, int(draw.lognormal(np.log(median), 0.8))))
            ids = draw.integers(0, vocabulary, tokens, dtype=np.int32)
            row.append(Document(ids, np.ones(tokens, bool)))
            left -= tokens
        packed.append(row)
    return collate(packed, length)


class Ours:
    """The decoder of cwm-train."""

    def __init__(self, config: CwmModelConfig, precision: str) -> None:
        torch.manual_seed(0)
        self._accelerator = Accelerator(mixed_precision=precision, cpu=True)
        self.model = config.build()
        self.model.train()
        self.optimizer = AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self._model, self._optimizer = self._accelerator.prepare(self.model, self.optimizer)

    def step(self, batch: Batch) -> Tensor:
        """Make an optimizer step; return the mean loss before it."""
        total = self._model(
            batch.ids_bt, batch.positions_bt, batch.document_bt, labels_bt=batch.labels_bt
        )
        loss = total / batch.loss_tokens
        self._accelerator.backward(loss)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss.detach()


class HuggingFace:
    """`CwmForCausalLM` with the weights that `Ours` begins with."""

    def __init__(self, config: CwmModelConfig, precision: str) -> None:
        import transformers

        fields = {**config.to_hf(), "attn_implementation": "sdpa"}
        torch.manual_seed(0)
        weights = config.build().state_dict()
        self._accelerator = Accelerator(mixed_precision=precision, cpu=True)
        self.model = transformers.CwmForCausalLM(transformers.CwmConfig(**fields))
        self.model.load_state_dict(weights)
        self.model.train()
        self.optimizer = AdamW(self.model.parameters(), lr=1e-3, fused=True)
        self._model, self._optimizer = self._accelerator.prepare(self.model, self.optimizer)

    def step(self, batch: Batch) -> Tensor:
        """Make an optimizer step; return the mean loss before it."""
        loss = self._model(
            input_ids=batch.ids_bt,
            position_ids=batch.positions_bt,
            labels=batch.labels_bt,
            shift_labels=batch.labels_bt,
            use_cache=False,
        ).loss
        self._accelerator.backward(loss)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss.detach()


SIDES: dict[str, Callable[[CwmModelConfig, str], Ours | HuggingFace]] = {
    "ours": Ours,
    "huggingface": HuggingFace,
}
