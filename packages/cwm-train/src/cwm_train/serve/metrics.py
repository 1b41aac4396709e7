"""The engine's counters in Prometheus' text format (version 0.0.4)."""

from __future__ import annotations

from cwm_train.generate.worker import Stats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METRICS: dict[str, tuple[str, str, str]] = {
    "running": ("requests_running", "gauge", "Sequences in the batch"),
    "waiting": ("requests_waiting", "gauge", "Requests that wait for room"),
    "cache_tokens": ("cache_tokens", "gauge", "Tokens in the cache"),
    "prefix_bytes": ("prefix_bytes", "gauge", "Memory of reusable prefixes in bytes"),
    "version": ("model_version", "gauge", "Version of the weights"),
    "requests": ("requests_total", "counter", "Requests that were started"),
    "cancelled": ("requests_cancelled_total", "counter", "Requests given up by their clients"),
    "failed": ("requests_failed_total", "counter", "Requests that an error of the engine ended"),
    "steps": ("steps_total", "counter", "Steps of the batch"),
    "prompt_tokens": ("prompt_tokens_total", "counter", "Tokens of prompts"),
    "computed_tokens": ("computed_prompt_tokens_total", "counter", "Prompt tokens computed"),
    "reused_tokens": (
        "reused_prompt_tokens_total",
        "counter",
        "Prompt tokens taken from the cache",
    ),
    "generated_tokens": ("generated_tokens_total", "counter", "Tokens generated"),
    "scored_tokens": ("scored_tokens_total", "counter", "Tokens scored"),
    "updates": ("weight_updates_total", "counter", "Weight updates"),
}


def render(stats: Stats) -> str:
    """Return the text of ``GET /metrics``."""
    lines = []
    for field, (name, kind, text) in _METRICS.items():
        lines += [f"# HELP cwm_{name} {text}.", f"# TYPE cwm_{name} {kind}"]
        lines.append(f"cwm_{name} {getattr(stats, field)}")
    return "\n".join(lines) + "\n"
