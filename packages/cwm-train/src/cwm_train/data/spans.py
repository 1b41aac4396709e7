"""Spans of a document and their share in the loss.

A span is a stretch of tokens by one author: the context or the prompt, an action, an observation.
Tokens carry a code of one byte: the kind of their span and whether they begin one.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from cwm_train.data.config import LossShares
from cwm_train.data.hashing import uniform

Codes = npt.NDArray[np.uint8]


class Span(IntEnum):
    """Kinds of spans."""

    PROMPT = 0
    """What a model is given: source context, system and user messages, headers of messages."""
    ACTION = 1
    """What an agent does: the source line of a frame, an assistant's message."""
    OBSERVATION = 2
    """What it then sees: the event and state of a frame, the answer of a tool."""
    TEXT = 3
    """Plain text, which always carries loss."""


_KIND = 0b0011
_BEGINS = 0b0100
_NEVER = 0b1000


def encode_spans(
    kinds: npt.ArrayLike, groups: npt.ArrayLike = 0, never: npt.ArrayLike | None = None
) -> Codes:
    """Return the codes of tokens of these `kinds` (values of `Span`).

    A span ends where the kind or the group (a number of the frame or message) changes. Tokens at
    which `never` is true carry no loss, whatever the shares are.
    """
    codes = np.asarray(kinds).astype(np.uint8)
    group = np.broadcast_to(groups, codes.shape)
    begins = np.ones(len(codes), np.bool_)
    begins[1:] = (codes[1:] != codes[:-1]) | (group[1:] != group[:-1])
    if never is not None:
        codes |= np.asarray(never, np.bool_).astype(np.uint8) * np.uint8(_NEVER)
    return np.asarray(codes | begins.astype(np.uint8) * np.uint8(_BEGINS), np.uint8)


def text_codes(count: int) -> Codes:
    """Return the codes of plain text."""
    return encode_spans(np.full(count, Span.TEXT))


def loss_mask(codes: Codes, shares: LossShares, document: int) -> npt.NDArray[np.bool_]:
    """Decide which tokens of a document carry loss.

    A share of 0 or 1 decides for all spans of a kind. With one between, each span is drawn by
    itself, whole: by the seed, the number of the document and that of the span, so that the same
    spans are chosen in every epoch, process and run.
    """
    wanted = np.array([shares.prompt, shares.action, shares.observation, 1.0])[codes & _KIND]
    number = np.cumsum((codes & _BEGINS) != 0, dtype=np.uint64)
    drawn = uniform(number, shares.seed, document) < wanted
    return drawn & ((codes & _NEVER) == 0)
