"""Teacher-forced scores of whole sequences. Shapes: B rows, T tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cwm_core.engine.base import Scores
from cwm_train.data.batch import collate
from cwm_train.data.document import Document
from cwm_train.model.transformer import CwmForCausalLM


@dataclass(frozen=True, slots=True)
class LocalScores(Scores):
    """Scores with the log-probabilities of `greedy_ids`; entry 0 is ``0.0``."""

    greedy_logprobs: tuple[float, ...] = ()


@torch.no_grad()
def score(
    model: CwmForCausalLM, sequences: Sequence[Sequence[int]], max_tokens: int = 16384
) -> list[LocalScores]:
    """Score sequences, neighbours in length together, at most `max_tokens` tokens at once."""
    results: list[LocalScores | None] = [None] * len(sequences)
    order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    for chosen in _groups(order, sequences, max_tokens):
        for index, scores in zip(chosen, _score_batch(model, [sequences[i] for i in chosen])):
            results[index] = scores
    return [scores for scores in results if scores is not None]


def _groups(
    order: list[int], sequences: Sequence[Sequence[int]], max_tokens: int
) -> Iterator[list[int]]:
    group: list[int] = []
    for index in order:
        if group and len(sequences[index]) * (len(group) + 1) > max_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _score_batch(model: CwmForCausalLM, sequences: list[Sequence[int]]) -> list[LocalScores]:
    rows = [
        [Document(np.asarray(s, dtype=np.int32), np.ones(len(s), dtype=np.bool_))]
        for s in sequences
    ]
    batch = collate(rows, max(len(s) for s in sequences)).to(model.lm_head.weight.device)
    # rows hold one document each: causal attention alone keeps padding out of sight
    found = model.scores(batch.ids_bt, batch.labels_bt)
    counts = [max(len(s) - 1, 0) for s in sequences]
    return [
        LocalScores((0.0, *logprobs), (-1, *greedy), (0.0, *best))
        for logprobs, greedy, best in zip(*([x.tolist() for x in y.split(counts)] for y in found))
    ]
