"""From logits to tokens. Shapes: B rows, V vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from cwm_core.engine.base import SamplingParams


class Sampler:
    """Draws the tokens of one request with its own random generator.

    Reported log-probabilities are those of the model itself (temperature 1, nothing cut off).
    """

    def __init__(self, params: SamplingParams) -> None:
        self.params = params
        self._random = torch.Generator()
        if params.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(params.seed)

    def draw(self, logprobs_v: Tensor) -> int:
        """Return a token, given log-probabilities on the CPU in fp32."""
        params = self.params
        if params.temperature <= 0:
            return int(logprobs_v.argmax())
        kept_v = _truncated(logprobs_v / params.temperature, params.top_k, params.top_p)
        return int(torch.multinomial(kept_v.softmax(-1), 1, generator=self._random))


def _truncated(logits_v: Tensor, top_k: int, top_p: float) -> Tensor:
    """Set all but the `top_k` largest, then all outside the nucleus `top_p`, to minus infinity."""
    if 0 < top_k < len(logits_v):
        smallest = logits_v.topk(top_k).values[-1]
        logits_v = logits_v.masked_fill(logits_v < smallest, -torch.inf)
    if top_p < 1.0:
        sorted_v, order_v = logits_v.softmax(-1).sort(descending=True)
        outside_v = sorted_v.cumsum(-1) - sorted_v >= top_p
        outside_v[0] = False
        logits_v = logits_v.clone()
        logits_v[order_v[outside_v]] = -torch.inf
    return logits_v
