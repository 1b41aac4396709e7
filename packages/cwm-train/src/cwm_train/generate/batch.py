"""A batch of sequences that grow together: rows join when there is room and leave when finished.

Shapes: B rows, T prompt tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cwm_core.engine.base import Completion, SamplingParams
from cwm_core.errors import ContextLengthError, DataError
from cwm_train.generate.sampling import Sampler
from cwm_train.model.cache import KVCache
from cwm_train.model.transformer import CwmForCausalLM


@dataclass
class _Row:
    key: Hashable
    sampler: Sampler
    length: int
    """Tokens in the cache."""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = ""

    def completion(self) -> Completion:
        return Completion(tuple(self.token_ids), tuple(self.logprobs), self.finish_reason)


class DecodingBatch:
    """Rows with one KV cache; every `step` gives each row its next token."""

    def __init__(self, model: CwmForCausalLM) -> None:
        self._model = model
        weight = model.lm_head.weight
        self._device, self._dtype = weight.device, weight.dtype
        self._cache: KVCache | None = None
        self._rows: list[_Row] = []

    def __len__(self) -> int:
        return len(self._rows)

    @torch.no_grad()
    def add(
        self, requests: Sequence[tuple[Hashable, Sequence[int], SamplingParams]]
    ) -> dict[Hashable, Completion]:
        """Take requests in, each with its first token drawn; return those finished by it.

        Prompts are padded on the right; the padding is overwritten as rows grow.
        """
        longest = max(len(prompt) for _, prompt, _ in requests)
        room = longest + min(256, max(params.max_tokens for _, _, params in requests))
        cache = KVCache(self._model.config, len(requests), room, self._device, self._dtype)
        ids_bt = torch.zeros(len(requests), longest, dtype=torch.long)
        for b, (_, prompt, _) in enumerate(requests):
            ids_bt[b, : len(prompt)] = torch.tensor(list(prompt))
        hidden_btd = self._model.model(ids_bt.to(self._device), cache=cache)
        lengths = [len(prompt) for _, prompt, _ in requests]
        last_bd = hidden_btd[torch.arange(len(requests)), torch.tensor(lengths) - 1]
        fresh = [
            _Row(key, Sampler(params), length)
            for (key, _, params), length in zip(requests, lengths)
        ]
        self._draw(fresh, self._model.lm_head(last_bd))
        if self._cache is None:
            self._cache = cache
        else:
            self._cache.extend(cache)
        self._rows += fresh
        return self._remove_finished()

    @torch.no_grad()
    def step(self) -> dict[Hashable, Completion]:
        """Give every row one more token; return the completions that this finished, by key."""
        if not self._rows:
            return {}
        ids_b1 = torch.tensor([[row.token_ids[-1]] for row in self._rows], device=self._device)
        positions_b1 = torch.tensor([[row.length] for row in self._rows], device=self._device)
        logits_b1v = self._model(ids_b1, positions_b1, cache=self._cache)
        for row in self._rows:
            row.length += 1
        self._draw(self._rows, logits_b1v[:, 0])
        return self._remove_finished()

    def cancel(self, key: Hashable) -> None:
        """Drop a row without an answer."""
        self._keep([i for i, row in enumerate(self._rows) if row.key != key])

    def _draw(self, rows: list[_Row], logits_bv: Tensor) -> None:
        logprobs_bv = logits_bv.float().log_softmax(-1).cpu()
        for row, logprobs_v in zip(rows, logprobs_bv):
            token = row.sampler.draw(logprobs_v)
            row.token_ids.append(token)
            row.logprobs.append(float(logprobs_v[token]))
            params = row.sampler.params
            if token in params.stop_token_ids:
                row.finish_reason = "stop"
            elif self._is_full(row, params):
                row.finish_reason = "length"

    def _is_full(self, row: _Row, params: SamplingParams) -> bool:
        context = self._model.config.max_position_embeddings
        return len(row.token_ids) >= params.max_tokens or row.length + 1 >= context

    def _remove_finished(self) -> dict[Hashable, Completion]:
        finished = {row.key: row.completion() for row in self._rows if row.finish_reason}
        if finished:
            self._keep([i for i, row in enumerate(self._rows) if not row.finish_reason])
        return finished

    def _keep(self, indices: list[int]) -> None:
        if len(indices) == len(self._rows):
            return
        self._rows = [self._rows[i] for i in indices]
        if not self._rows:
            self._cache = None
        elif self._cache is not None:
            self._cache.select(torch.tensor(indices, device=self._device))


def check_prompt(prompt: Sequence[int], model: CwmForCausalLM) -> None:
    """Raise `DataError` for an empty or too long prompt, or ids outside the vocabulary."""
    config = model.config
    if not prompt:
        raise DataError("the prompt is empty", "give at least one token")
    if len(prompt) >= config.max_position_embeddings:
        raise ContextLengthError(
            f"the prompt has {len(prompt)} tokens; the model's context is "
            f"{config.max_position_embeddings}",
            "shorten the prompt",
        )
    if min(prompt) < 0 or max(prompt) >= config.vocab_size:
        raise DataError(
            f"the prompt has ids outside the vocabulary of {config.vocab_size}",
            "encode it with the tokenizer of this model",
        )


def generate(
    model: CwmForCausalLM,
    prompts: Sequence[Sequence[int]],
    params: SamplingParams | Sequence[SamplingParams],
    max_batch: int = 32,
) -> list[Completion]:
    """Continue every prompt; at most `max_batch` at once, shortest prompts first."""
    each = [params] * len(prompts) if isinstance(params, SamplingParams) else list(params)
    for prompt in prompts:
        check_prompt(prompt, model)
    batch = DecodingBatch(model)
    waiting = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    done: dict[Hashable, Completion] = {}
    while waiting or len(batch):
        if waiting and len(batch) < max_batch:
            chosen = [waiting.pop() for _ in range(min(len(waiting), max_batch - len(batch)))]
            done |= batch.add([(i, prompts[i], each[i]) for i in chosen])
        done |= batch.step()
    return [done[i] for i in range(len(prompts))]
