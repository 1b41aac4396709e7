"""Which of the ways to compute a step suits a model."""

from __future__ import annotations

from cwm_train.generate import native_step
from cwm_train.generate.decode import DecodeStep
from cwm_train.generate.forward import ForwardStep
from cwm_train.model.cache import KVCache
from cwm_train.model.transformer import CwmForCausalLM


def make_step(
    model: CwmForCausalLM, cache: KVCache, batch_invariant: bool = False, native: bool = True
) -> ForwardStep:
    """Return the fastest one: in C where it applies and `native` allows it, else with torch.

    With `batch_invariant` it is the model's own forward pass, whose operations are training's.
    """
    if batch_invariant:
        return ForwardStep(model, cache)
    if native and native_step.applies(model):
        return native_step.NativeStep(model, cache)
    return DecodeStep(model, cache)
