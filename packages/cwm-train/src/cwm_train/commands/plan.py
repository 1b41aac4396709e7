"""`cwm model plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def plan_run(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value ..., such as gpus=512 gpu=h200")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Memory, FLOPs and days of a training run on a cluster: cwm model plan model=cwm_32b
    gpus=512 gpu=h100 max_tokens=8e12."""
    from cwm_core.config import compose
    from cwm_train.plan.config import PlanConfig

    settings = compose("model plan", PlanConfig, overrides or [], config)
    from cwm_train.plan.report import plan

    found = plan(settings)
    print(json.dumps(found, indent=2) if as_json else _text(found))


def _text(found: dict[str, Any]) -> str:
    lines = [f"{found['gpus']} GPUs: {found['arrangement']}"]
    for title, key, shown in (
        ("Model", "model", _number),
        ("Memory of one GPU", "memory_bytes", _gib),
        ("Time", "time", _number),
    ):
        lines += ["", title]
        for name, entry in found[key].items():
            lines.append(f"  {name:<39} {shown(entry['value']):>14}  {entry['formula']}")
    if not found["fits"]:
        lines += ["", "This does not fit. More shard, tensor or context, recompute=full, or a "
                  "larger accumulate take less memory."]  # fmt: skip
    return "\n".join(lines)


def _gib(value: float) -> str:
    return f"{value / 2**30:.2f} GiB"


def _number(value: float) -> str:
    if value == int(value) and value < 1e15:
        return f"{int(value):,}"
    return f"{value:.3g}" if abs(value) >= 1e6 or abs(value) < 1e3 else f"{value:,.1f}"
