"""A plan as figures with their formulae."""

from __future__ import annotations

from typing import Any

from cwm_train.plan.config import GPUS, PlanConfig
from cwm_train.plan.memory import Part, memory_parts, peak
from cwm_train.plan.speed import DAY_S, Speed


def plan(config: PlanConfig) -> dict[str, Any]:
    """Return the plan: sections of figures, each ``{name: {"value", "formula"}}``, SI units.

    Raises ConfigError when the GPUs cannot be arranged as asked.
    """
    memory = memory_parts(config)
    highest = peak(config, memory)
    room = config.gpu_memory_bytes or GPUS[config.gpu].memory_bytes
    return {
        "gpus": config.gpus,
        "arrangement": str(config.sizes),
        "fits": highest.value <= room,
        "model": _section(_model(config)),
        "memory_bytes": _section([*memory, highest, Part("a GPU has", room, "data sheet")]),
        "time": _section(_time(config)),
    }


def _section(parts: list[Part]) -> dict[str, dict[str, Any]]:
    return {part.name: {"value": part.value, "formula": part.formula} for part in parts}


def _model(config: PlanConfig) -> list[Part]:
    speed = Speed(config)
    attention = speed.flops_per_token - 6 * speed.count.products
    return [
        Part("parameters", speed.count.total, "counted on the meta device"),
        Part("parameters of a layer", speed.count.layer, "counted"),
        Part("parameters of embedding, norm and head", speed.count.ends, "counted"),
        Part("FLOPs per token, products", 6 * speed.count.products,
             "6 x parameters in matrices, without the embedding"),
        Part("FLOPs per token, attention", attention,
             "3 x sum over layers of 4 x queries x mean visible keys; windows and causality count"),
        Part("FLOPs per token", speed.flops_per_token, "products + attention"),
        Part("FLOPs per token, recomputed", speed.recomputed_per_token(),
             f"recompute={config.recompute}; not part of MFU"),
        Part("FLOPs of the run", speed.flops_per_token * config.max_tokens,
             "FLOPs per token x max_tokens"),
    ]  # fmt: skip


def _time(config: PlanConfig) -> list[Part]:
    speed = Speed(config)
    step, tokens = speed.step(), config.rows * config.sequence_length
    rate = tokens / step.total_s
    mfu = rate * speed.flops_per_token / (config.gpus * speed.peak_flops)
    days = config.max_tokens / rate / DAY_S
    return [
        Part("rows at once on a GPU", config.part_rows, "rows / (replicate x shard x accumulate)"),
        Part("computing, s", step.compute_s,
             f"batch x (FLOPs + recomputed) / (GPUs x {speed.peak_flops:.3g} FLOP/s x mfu "
             f"{config.mfu})"),
        Part("sharding, s", step.sharding_s,
             "gathered weights and scattered gradients / bandwidth; overlaps with computing"),
        Part("tensor, s", step.tensor_s, "activations gathered and scattered / bandwidth"),
        Part("context, s", step.context_s, "fetched keys and values / bandwidth"),
        Part("step, s", step.total_s, "max(computing, sharding) + tensor + context"),
        Part("steps", config.max_tokens / tokens, "max_tokens / batch"),
        Part("tokens/s", rate, "batch / step"),
        Part("tokens/s per GPU", rate / config.gpus, "tokens/s / GPUs"),
        Part("MFU", mfu, "tokens/s x FLOPs per token / (GPUs x peak)"),
        Part("days", days, "max_tokens / tokens/s"),
        Part("GPU hours", days * 24 * config.gpus, "days x 24 x GPUs"),
    ]  # fmt: skip
