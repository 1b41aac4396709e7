"""Validation: loss and teacher-forced accuracy. Shapes: B rows, T tokens, N labelled tokens."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from cwm_core.text.special_tokens import FRAME_SEP
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.data.batch import Batch, collate
from cwm_train.data.document import Document, DocumentSource
from cwm_train.data.packing import best_fit
from cwm_train.model.loss import IGNORE
from cwm_train.model.transformer import CwmForCausalLM
from cwm_train.parallel.apply import whole_sequences
from cwm_train.parallel.batch import own_batches
from cwm_train.parallel.mesh import Grid


def validation_batches(
    sources: Mapping[str, DocumentSource], documents: int, sequence_length: int, rows: int
) -> list[Batch]:
    """Pack the first `documents` that fit of every source into batches of `rows` rows."""
    chosen: list[Document] = []
    for source in sources.values():
        fitting = [i for i in range(len(source)) if source.lengths[i] <= sequence_length]
        chosen += [source[i] for i in fitting[:documents]]
    bins = best_fit([len(d.ids) for d in chosen], sequence_length)
    packed = [[chosen[i] for i in items] for items in bins]
    return [collate(packed[i : i + rows], sequence_length) for i in range(0, len(packed), rows)]


@torch.no_grad()
def evaluate(
    model: CwmForCausalLM,
    batches: list[Batch],
    tokenizer: Tokenizer,
    device: torch.device,
    grid: Grid | None = None,
) -> dict[str, float]:
    """Return mean loss (nats per token), token accuracy and frame accuracy.

    With a `grid` every process must call this; each takes its share of the batches.

    A frame counts as right when the model's first choice is right at every token of it, given
    all true tokens before.
    """
    frame_end = tokenizer.special_ids.get(FRAME_SEP, -1)
    sums = torch.zeros(5, dtype=torch.float64)
    with whole_sequences(model):
        for batch in own_batches(batches, grid) if grid else batches:
            sums += _sums(model, batch.to(device), frame_end)
    if grid:
        sums = grid.total(sums.to(device))
    loss, right, tokens, right_frames, frames = sums.tolist()
    result = {"loss": loss / max(tokens, 1), "token_accuracy": right / max(tokens, 1)}
    if frames:
        result["frame_accuracy"] = right_frames / frames
    return result


def _sums(model: CwmForCausalLM, batch: Batch, frame_end: int) -> Tensor:
    """Return summed loss, right tokens, tokens, right frames and frames of a batch, (5,)."""
    logprobs_n, greedy_n, _ = model.scores(
        batch.ids_bt,
        batch.labels_bt,
        positions_bt=batch.positions_bt,
        document_bt=batch.document_bt,
    )
    labels_n, document_n = labelled(batch)
    right_n = greedy_n == labels_n
    frames, right_frames = frame_counts(labels_n, document_n, right_n, frame_end)
    counts = (-logprobs_n.double().sum(), right_n.sum(), len(labels_n), right_frames, frames)
    return torch.tensor([float(x) for x in counts], dtype=torch.float64)


def labelled(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the labels, and a number for the document of each, of all labelled positions."""
    keep_bt = batch.labels_bt != IGNORE
    row_bt = torch.arange(len(keep_bt), device=keep_bt.device)[:, None].expand_as(keep_bt)
    document_bt = batch.document_bt + row_bt * (1 + batch.document_bt.max())
    return batch.labels_bt[keep_bt], document_bt[keep_bt]


def frame_counts(
    labels_n: Tensor, document_n: Tensor, right_n: Tensor, frame_end: int
) -> tuple[int, int]:
    """Return how many frames the labels hold, and how many of them are right throughout."""
    if not len(labels_n):
        return 0, 0
    closes_n = labels_n == frame_end
    starts_n = torch.ones_like(closes_n)
    starts_n[1:] = closes_n[:-1] | (document_n[1:] != document_n[:-1])
    group_n = starts_n.cumsum(0) - 1
    groups = int(group_n[-1]) + 1
    wrong = torch.zeros(groups, device=labels_n.device).index_add_(0, group_n, (~right_n).float())
    closed = torch.zeros(groups, device=labels_n.device).index_add_(0, group_n, closes_n.float())
    return int((closed > 0).sum()), int(((closed > 0) & (wrong == 0)).sum())
