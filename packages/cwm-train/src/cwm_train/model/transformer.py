"""The CWM decoder: pre-norm, grouped-query attention, interleaved sliding windows, SwiGLU.

Names and numbers follow Hugging Face's `CwmForCausalLM`; so do the names of the weights.
Shapes: B rows, T tokens, S keys, D width, H query heads, G key/value heads, E head width,
V vocabulary, N positions that carry loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cwm_train.attention.base import Attention, Layout
from cwm_train.attention.chunked import ChunkedAttention
from cwm_train.model.cache import NewTokens
from cwm_train.model.config import CwmModelConfig
from cwm_train.model.induction import induction_heads
from cwm_train.model.loss import IGNORE, head_cross_entropy, label_scores
from cwm_train.model.rope import inverse_frequencies, rotate, rotation


class RMSNorm(nn.Module):
    """Divide by the root mean square, in fp32; then cast back and scale."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        x_fp32 = x.float()
        scale = torch.rsqrt(x_fp32.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * (x_fp32 * scale).to(x.dtype)


class SelfAttention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, config: CwmModelConfig, layer: int) -> None:
        super().__init__()
        self.layer, self.head_dim, self.window = layer, config.head_dim, config.window(layer)
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)

    def forward(self, x_btd: Tensor, context: Context) -> Tensor:
        """Mix information between the tokens that may see each other."""
        heads = (*x_btd.shape[:2], -1, self.head_dim)
        q_bhte = rotate(self.q_proj(x_btd).view(heads), *context.rotation).transpose(1, 2)
        k_bgte = rotate(self.k_proj(x_btd).view(heads), *context.rotation).transpose(1, 2)
        v_bgte = self.v_proj(x_btd).view(heads).transpose(1, 2)
        if context.cache is not None:
            k_bgte, v_bgte = context.cache.update(self.layer, k_bgte, v_bgte)
            k_bgte, v_bgte = k_bgte.to(q_bhte.dtype), v_bgte.to(q_bhte.dtype)
        y_bhte = context.attention(q_bhte, k_bgte, v_bgte, context.plans[self.window])
        return self.o_proj(y_bhte.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU (arXiv 2002.05202)."""

    def __init__(self, config: CwmModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_btd: Tensor) -> Tensor:
        """Transform each token on its own."""
        return self.down_proj(functional.silu(self.gate_proj(x_btd)) * self.up_proj(x_btd))


class DecoderLayer(nn.Module):
    """Attention and feed-forward, each added to the residual stream."""

    def __init__(self, config: CwmModelConfig, layer: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config, layer)
        self.mlp = FeedForward(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.recompute: Callable[..., Tensor] | None = None
        """Calls the layer so that its activations are computed again (`model.recompute`)."""

    def forward(self, x_btd: Tensor, context: Context) -> Tensor:
        """Apply the layer."""
        if self.recompute is None or context.cache is not None or not torch.is_grad_enabled():
            return self._apply_to(x_btd, context)
        return self.recompute(self._apply_to, x_btd, context)

    def _apply_to(self, x_btd: Tensor, context: Context) -> Tensor:
        x_btd = x_btd + self.self_attn(self.input_layernorm(x_btd), context)
        return x_btd + self.mlp(self.post_attention_layernorm(x_btd))


class Context:
    """What all layers of one forward pass share: rotations, attention plans and the cache."""

    def __init__(
        self,
        model: Decoder,
        positions_bt: Tensor,
        document_bt: Tensor | None,
        cache: NewTokens | None,
    ) -> None:
        self.attention, self.cache = model.attention, cache
        self.rotation = rotation(positions_bt, model.frequencies())
        packed = Layout.of_sequence(positions_bt, document_bt)
        layouts = {w: packed if cache is None else cache.layout(w) for w in model.windows}
        self.plans = {w: model.attention.plan(layouts[w], w) for w in model.windows}


class Decoder(nn.Module):
    """Embedding, layers and final norm (`CwmModel`)."""

    def __init__(self, config: CwmModelConfig, attention: Attention) -> None:
        super().__init__()
        self.config, self.attention = config, attention
        layers = range(config.num_hidden_layers)
        # in the same order in every process: attention spread over processes plans together
        self.windows = tuple(dict.fromkeys(config.window(layer) for layer in layers))
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config, layer) for layer in layers)
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self._frequencies_e: Tensor | None = None

    def frequencies(self) -> Tensor:
        """Return the RoPE frequencies in fp32 on the model's device, whatever its dtype."""
        device = self.embed_tokens.weight.device
        if self._frequencies_e is None or self._frequencies_e.device != device:
            frequencies_e = inverse_frequencies(self.config.head_dim, self.config.rope_parameters)
            self._frequencies_e = frequencies_e.to(device)
        return self._frequencies_e

    def forward(
        self,
        ids_bt: Tensor,
        positions_bt: Tensor | None = None,
        document_bt: Tensor | None = None,
        cache: NewTokens | None = None,
    ) -> Tensor:
        """Return the normalised hidden states, (B, T, D)."""
        if cache is not None:
            positions_bt = cache.positions_bt
        if positions_bt is None:
            positions_bt = torch.arange(ids_bt.shape[1], device=ids_bt.device).expand_as(ids_bt)
        context = Context(self, positions_bt, document_bt, cache)
        x_btd = self.embed_tokens(ids_bt)
        for layer in self.layers:
            x_btd = layer(x_btd, context)
        return self.norm(x_btd)


class CwmForCausalLM(nn.Module):
    """The decoder with its output head; state-dict names are those of Hugging Face.

    `document_bt` marks packed documents: tokens see only their own document; negative ids are
    padding. `positions_bt` counts from 0 in each document. A `cache` holds the tokens before and
    knows the positions.
    """

    def __init__(self, config: CwmModelConfig, attention: Attention | None = None) -> None:
        super().__init__()
        if attention is None:
            attention = ChunkedAttention()
        self.config = config
        self.model = Decoder(config, attention)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        self.head_loss: Callable[[Tensor, Tensor, Tensor], Tensor] = head_cross_entropy
        self.head_scores: Callable[..., tuple[Tensor, Tensor, Tensor]] = label_scores
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Draw fresh weights as `config.init` says."""
        for name, weight in self.named_parameters():
            if weight.ndim < 2:
                weight.fill_(1.0)
            elif self.config.init == "normal" or "embed_tokens" in name:
                weight.normal_(std=self.config.initializer_range)
            elif "o_proj" in name or "down_proj" in name:
                weight.zero_()
            else:
                weight.normal_(std=weight.shape[1] ** -0.5)
        if self.config.init == "induction" and not self.lm_head.weight.is_meta:
            induction_heads(self)

    def forward(
        self,
        ids_bt: Tensor,
        positions_bt: Tensor | None = None,
        document_bt: Tensor | None = None,
        cache: NewTokens | None = None,
        labels_bt: Tensor | None = None,
    ) -> Tensor:
        """Return the logits (B, T, V) or, given `labels_bt`, the summed loss (nats).

        ``labels_bt[b, t]`` is the token that position t must predict, `IGNORE` for none; logits
        are computed at labelled positions only, a chunk at a time.
        """
        hidden_btd = self.model(ids_bt, positions_bt, document_bt, cache)
        if labels_bt is None:
            return self.lm_head(hidden_btd)
        hidden_nd, labels_n = _labelled(hidden_btd, labels_bt)
        return self.head_loss(hidden_nd, self.lm_head.weight, labels_n)

    @torch.no_grad()
    def scores(
        self, ids_bt: Tensor, labels_bt: Tensor, **layout: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return for each labelled position, in order, what `label_scores` does, each (N,)."""
        hidden_nd, labels_n = _labelled(self.model(ids_bt, **layout), labels_bt)
        return self.head_scores(hidden_nd, self.lm_head.weight, labels_n)


def _labelled(hidden_btd: Tensor, labels_bt: Tensor) -> tuple[Tensor, Tensor]:
    keep_n = (labels_bt != IGNORE).flatten().nonzero()[:, 0]
    return hidden_btd.flatten(0, 1)[keep_n], labels_bt.flatten()[keep_n]
