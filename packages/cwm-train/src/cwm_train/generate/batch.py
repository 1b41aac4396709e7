"""A batch of sequences that grow together: rows join and leave between any two steps.

Rows of the cache 0 .. ready - 1 are decoded, one token each per step; the rows after them still
wait for a part of their ids to be computed (a prompt, or everything after new weights), at most
`chunk` tokens per step, so that a long prompt holds nobody up for long. The last id of a row always
goes through the decoding step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cwm_core.engine.base import Completion, EngineError, SamplingParams
from cwm_train.generate.prefixes import PrefixStore
from cwm_train.generate.request import Request, check_params, check_prompt
from cwm_train.generate.sampling import draw
from cwm_train.generate.steps import make_step
from cwm_train.model.cache import KVCache
from cwm_train.model.transformer import CwmForCausalLM

SHORTEST_PREFIX = 16
"""Shorter beginnings are computed again rather than kept."""


@dataclass
class _Row:
    request: Request
    done: int = 0
    """Tokens in the cache."""

    @property
    def missing(self) -> int:
        return self.request.length - 1 - self.done


class DecodingBatch:
    """Rows with one KV cache; `step` is the only method that computes.

    With `batch_invariant` it rounds where training does; the caller chooses the sums
    (`model.invariant`). Without `native` it never uses the step in C.
    """

    def __init__(
        self,
        model: CwmForCausalLM,
        *,
        chunk: int = 512,
        prefix_bytes: int = 0,
        version: int = 0,
        batch_invariant: bool = False,
        native: bool = True,
    ) -> None:
        self.model, self.version = model, version
        weight = model.lm_head.weight
        self._device, self._chunk = weight.device, chunk
        self._context = model.config.max_position_embeddings
        self.cache = KVCache(model.config, weight.device, weight.dtype)
        windows = [window for window in self.cache.windows if window is not None]
        self.prefixes = PrefixStore(prefix_bytes, min(windows, default=None))
        self._decode = make_step(model, self.cache, batch_invariant, native)
        self._rows: list[_Row] = []
        self._ready = 0
        self._ids_b = self._positions_b = torch.zeros(0, dtype=torch.long)
        self._stale = True
        self.computed_tokens = self.reused_tokens = self.generated_tokens = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def requests(self) -> list[Request]:
        """The requests in the batch."""
        return [row.request for row in self._rows]

    @property
    def tokens(self) -> int:
        """Tokens in the cache."""
        return sum(row.done for row in self._rows)

    def add(self, request: Request) -> None:
        """Take a request in."""
        self._rows.append(_Row(request))
        self.cache.reserve(len(self._rows), request.length)

    @torch.inference_mode()
    def step(self) -> list[Request]:
        """Compute one chunk, then give every ready row a token; return what this finished.

        Raises:
            EngineError: the model's log-probabilities are not finite.
        """
        self._prefill()
        if not self._ready:
            return []
        self._refresh()
        rows = self._rows[: self._ready]
        used = max(row.done for row in rows) + 1
        self.cache.reserve(len(self._rows), used)
        logits_bv = self._decode(self._ids_b, self._positions_b, used)
        requests = [row.request for row in rows]
        self._ids_b, drawn = draw(
            logits_bv,
            [request.params for request in requests],
            [request.uniforms for request in requests],
            [request.top_logprobs for request in requests],
        )
        self._positions_b += 1
        self.generated_tokens += len(rows)
        self._check_finite(drawn.logprobs)
        for row, token, logprob, tops in zip(rows, drawn.token_ids, drawn.logprobs, drawn.tops):
            row.done += 1
            row.request.add(token, logprob, tops, self.version, self._context)
        return self._leave([row for row in rows if row.request.finish_reason])

    @torch.inference_mode()
    def cancel(self, requests: Sequence[Request]) -> None:
        """Drop requests without an answer."""
        dropped = {id(request) for request in requests}
        for row in [row for row in self._rows if id(row.request) in dropped]:
            self._remove(row)

    def forget(self, recompute: bool) -> None:
        """Take note of new weights: kept prefixes go; with `recompute`, the rows' own too."""
        self.prefixes.clear()
        if recompute:
            self._ready, self._stale = 0, True
            for row in self._rows:
                row.done = 0

    # Prompts

    def _prefill(self) -> None:
        waiting = self._rows[self._ready :]
        for row in waiting:
            if row.done == 0 and row.missing:
                self._reuse(row)
        pieces = self._pieces([row for row in waiting if row.missing])
        if pieces:
            self._compute(pieces)
        for row in waiting:
            if not row.missing:
                self._promote(row)

    def _reuse(self, row: _Row) -> None:
        """Begin with the keys and values of an earlier sequence, where there is one."""
        found = self.prefixes.find(row.request.ids[:-1])
        if found is None or found[0] < SHORTEST_PREFIX:
            return
        length, snapshot = found
        place = self._rows.index(row)
        self.cache.reserve(len(self._rows), snapshot.length)
        self.cache.restore(place, snapshot)
        row.done = length
        row.request.cached_tokens = min(length, len(row.request.prompt))
        self.reused_tokens += length

    def _pieces(self, waiting: list[_Row]) -> list[tuple[_Row, int]]:
        """Return which rows get how many tokens now: first come, first served.

        Of rows with the same prompt, one goes ahead and the others reuse its result.
        """
        pieces: list[tuple[_Row, int]] = []
        room, ahead = self._chunk, set[tuple[int, ...]]()
        for row in waiting:
            if self.prefixes.enabled and row.missing >= SHORTEST_PREFIX:
                prompt = tuple(row.request.ids[:-1])
                if row.done == 0 and prompt in ahead:
                    continue
                ahead.add(prompt)
            count = min(row.missing, room)
            if count:
                pieces.append((row, count))
                room -= count
        return pieces

    def _compute(self, pieces: list[tuple[_Row, int]]) -> None:
        places = [self._rows.index(row) for row, _ in pieces]
        ids = [row.request.ids[row.done : row.done + count] for row, count in pieces]
        self._decode.fill(places, [row.done for row, _ in pieces], ids)
        for place, (row, count) in zip(places, pieces):
            self.computed_tokens += count
            row.done += count
            if not row.missing and row.done >= SHORTEST_PREFIX:
                self._keep(place, row)

    def _keep(self, place: int, row: _Row) -> None:
        if self.prefixes.enabled:
            self.prefixes.add(row.request.ids, self.cache.snapshot(place, row.done))

    # Places

    def _promote(self, row: _Row) -> None:
        place = self._rows.index(row)
        if place != self._ready:
            other = self._rows[self._ready]
            self.cache.swap(place, self._ready, max(row.done, other.done))
            self._rows[place], self._rows[self._ready] = other, row
        self._ready += 1
        self._stale = True

    def _leave(self, finished: list[_Row]) -> list[Request]:
        for row in finished:
            if row.done >= SHORTEST_PREFIX:
                self._keep(self._rows.index(row), row)
            self._remove(row)
        return [row.request for row in finished]

    def _remove(self, row: _Row) -> None:
        """Close the gap with the last ready row, and the gap after that with the last row."""
        place = self._rows.index(row)
        if place < self._ready:
            self._ready -= 1
            self._move(self._ready, place)
            place, self._stale = self._ready, True
        self._move(len(self._rows) - 1, place)
        self._rows.pop()

    def _move(self, source: int, target: int) -> None:
        if source != target:
            self.cache.copy(source, target, self._rows[source].done)
            self._rows[target] = self._rows[source]

    def _refresh(self) -> None:
        """Put the rows' last ids and positions on the device again after a change of rows."""
        if self._stale:
            rows = self._rows[: self._ready]
            ids = [row.request.ids[-1] for row in rows]
            self._ids_b = torch.tensor(ids, device=self._device)
            self._positions_b = torch.tensor([row.done for row in rows], device=self._device)
            self._stale = False

    def _check_finite(self, logprobs: list[float]) -> None:
        if not all(map(math.isfinite, logprobs)):
            raise EngineError(
                f"the model (version {self.version}) gave log-probabilities that are no numbers",
                "its weights are damaged or diverged: load others",
            )


def generate(
    model: CwmForCausalLM,
    prompts: Sequence[Sequence[int]],
    params: SamplingParams | Sequence[SamplingParams],
    max_batch: int = 32,
) -> list[Completion]:
    """Continue every prompt; at most `max_batch` at once, in their order."""
    each = [params] * len(prompts) if isinstance(params, SamplingParams) else list(params)
    for prompt, own in zip(prompts, each):
        check_prompt(prompt, model.config)
        check_params(own)
    requests = [Request(list(prompt), own) for prompt, own in zip(prompts, each)]
    batch, waiting = DecodingBatch(model), requests[::-1]
    while waiting or len(batch):
        while waiting and len(batch) < max_batch:
            batch.add(waiting.pop())
        batch.step()
    return [request.completion() for request in requests]
