"""A small program, and a model that knows one of its executions by heart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cwm_core.engine.base import Completion, SamplingParams, Scores
from cwm_core.text.tokenizer import Tokenizer, train_bpe
from cwm_core.trace.codec import encode_pieces
from cwm_core.trace.diff import DiffEncoder
from cwm_core.trace.frames import Frame
from cwm_core.trace.pieces import frame_pieces

SHOP = """\
def double(x):
    y = x * 2
    return y


def total(prices, discount):
    result = 0
    for price in prices:
        result += double(price)
    return result - discount


def risky(items):
    try:
        return items[3]
    except IndexError:
        return None
"""
SURE = math.log(0.9)


def tokenizer() -> Tokenizer:
    return train_bpe(['{"result": "..", "price": "1"}', "    return result\n"], 400)


class Reciting:
    """Predicts the frames of one execution, whatever came before; each token with p = 0.9.

    A forced return event is answered with `returned`.
    """

    def __init__(self, frames: Sequence[Frame], returned: Frame) -> None:
        self.tokenizer = tokenizer()
        self._frames = list(frames)
        self._returned = returned
        self.asked = 0

    async def generate(self, prompt_ids: Sequence[int], params: SamplingParams) -> Completion:
        self.asked += 1
        separator = self.tokenizer.special_id("<|frame_sep|>")
        index = list(prompt_ids).count(separator) - 1
        forced = prompt_ids[-1] == self.tokenizer.special_id("<|return_sep|>")
        if not forced and index >= len(self._frames):
            ids: tuple[int, ...] = (self.tokenizer.special_id("<|end_of_text|>"),)
        else:
            frame = self._returned if forced else self._frames[index]
            coder = DiffEncoder()
            for before in self._frames[:index]:
                coder.encode(before.event, before.locals or {})
            pieces = list(frame_pieces(frame, index, coder))[1 if forced else 0 :]
            ids = tuple(t for tokens in encode_pieces(pieces, self.tokenizer) for t in tokens)
        return Completion(ids, (SURE,) * len(ids), "stop")

    async def score(self, token_ids: Sequence[int]) -> Scores:
        raise NotImplementedError

    async def close(self) -> None:
        self.asked = -1
