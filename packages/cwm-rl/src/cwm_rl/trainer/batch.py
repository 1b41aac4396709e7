"""From stored groups to rows of packed episodes. Shapes: B rows, T tokens, n trained tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cwm_core.env.trajectory import Trajectory
from cwm_core.errors import DataError
from cwm_rl.algorithm.tokens import Totals
from cwm_rl.rollout.group import Group, Member
from cwm_train.data.batch import Batch, collate
from cwm_train.data.document import Document
from cwm_train.data.packing import best_fit


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode as arrays over its tokens."""

    document: Document
    """Token ids, and which of them were generated and are trained on."""
    logprobs: npt.NDArray[np.float32]
    """The engine's, of the trained tokens only."""
    advantage: float


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that are computed at once, with what the loss needs of each trained token, in order."""

    batch: Batch
    engine_logprobs_n: Tensor
    advantages_n: Tensor
    episode_n: Tensor

    def to(self, device: torch.device) -> Part:
        """Move to a device."""
        return Part(
            self.batch.to(device),
            self.engine_logprobs_n.to(device),
            self.advantages_n.to(device),
            self.episode_n.to(device),
        )


def episode_of(member: Member) -> Episode:
    """Turn a member into arrays: the exact ids of all turns, end to end.

    Raises DataError when a turn has no token ids, or an action no log-probabilities.
    """
    trajectory = member.trajectory
    ids: list[int] = []
    mask: list[bool] = []
    logprobs: list[float] = []
    for turn in trajectory.turns:
        if turn.token_ids is None:
            raise _unusable(trajectory, f"a turn ({turn.role}) has no token ids")
        ids += turn.token_ids
        if turn.role != "action":
            mask += [False] * len(turn.token_ids)
            continue
        if turn.logprobs is None or turn.loss_mask is None:
            raise _unusable(trajectory, "an action has no log-probabilities or no loss mask")
        mask += turn.loss_mask
        logprobs += [value for value, wanted in zip(turn.logprobs, turn.loss_mask) if wanted]
    if mask and mask[0]:
        raise _unusable(trajectory, "it begins with an action")
    document = Document(np.asarray(ids, np.int32), np.asarray(mask, np.bool_))
    return Episode(document, np.asarray(logprobs, np.float32), member.advantage)


def episodes_of(groups: Sequence[Group]) -> list[Episode]:
    """Return the episodes of groups that are trained on."""
    return [episode_of(member) for group in groups for member in group.members if member.trained]


def totals_of(episodes: Sequence[Episode]) -> Totals:
    """Count what a step learns from."""
    return Totals(sum(len(each.logprobs) for each in episodes), len(episodes))


def parts_of(episodes: Sequence[Episode], row_tokens: int, rows: int) -> list[Part]:
    """Pack episodes into rows of `row_tokens`, longer ones alone, `rows` rows at once.

    No episode is cut. Rows of similar length come together, so that little is padded.
    """
    if not episodes:
        return []
    lengths = [len(each.document.ids) for each in episodes]
    bins = best_fit(lengths, max(row_tokens, *lengths))
    bins.sort(key=lambda indices: -sum(lengths[i] for i in indices))
    return [
        _part([[episodes[i] for i in row] for row in bins[start : start + rows]])
        for start in range(0, len(bins), rows)
    ]


def blank_like(part: Part) -> Part:
    """Return a part without labels, for a process that has less to do than the others."""
    from cwm_train.model.loss import IGNORE

    batch = part.batch
    labels_bt = torch.full_like(batch.labels_bt, IGNORE)
    empty = Batch(batch.ids_bt, batch.positions_bt, batch.document_bt, labels_bt)
    return Part(empty, part.engine_logprobs_n[:0], part.advantages_n[:0], part.episode_n[:0])


def _part(rows: list[list[Episode]]) -> Part:
    length = max(sum(len(each.document.ids) for each in row) for row in rows)
    batch = collate([[each.document for each in row] for row in rows], length)
    flat = [each for row in rows for each in row]
    counts = [len(each.logprobs) for each in flat]
    advantages = np.array([each.advantage for each in flat], np.float32)
    return Part(
        batch,
        torch.from_numpy(np.concatenate([each.logprobs for each in flat])),
        torch.from_numpy(np.repeat(advantages, counts)),
        torch.from_numpy(np.repeat(np.arange(len(flat)), counts)),
    )


def _unusable(trajectory: Trajectory, why: str) -> DataError:
    return DataError(
        f"the trajectory of task {trajectory.task_id!r} cannot be trained on: {why}",
        "play it with an engine that returns token ids and log-probabilities",
    )
