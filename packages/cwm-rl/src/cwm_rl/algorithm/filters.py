"""What is kept out of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cwm_core.env.trajectory import Trajectory


def is_gibberish(
    token_ids: Sequence[int],
    logprobs: Sequence[float],
    *,
    vocab_size: int = 128256,
    rare_id: int = 100_000,
    margin: float = 2.0,
) -> bool:
    """Whether any token t has id_t > `rare_id` and logprob_t < -ln(`vocab_size`) - `margin`.

    High ids are rare merges of a byte-level BPE; one drawn at less than e**-margin times its
    chance under the uniform distribution shows that sampling has gone astray. Source: CWM report
    (arXiv 2510.02387), RL section, with these constants.
    """
    bound = -math.log(vocab_size) - margin
    return any(
        token > rare_id and logprob < bound
        for token, logprob in zip(token_ids, logprobs, strict=True)
    )


def has_gibberish(trajectory: Trajectory, **constants: float) -> bool:
    """Apply `is_gibberish` to every action that has token ids and log-probabilities."""
    return any(
        is_gibberish(turn.token_ids, turn.logprobs, **constants)  # type: ignore[arg-type]
        for turn in trajectory.actions
        if turn.token_ids is not None and turn.logprobs is not None
    )
