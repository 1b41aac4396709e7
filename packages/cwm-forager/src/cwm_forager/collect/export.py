"""Trajectories in the formats of other tools: chat JSON, mini-swe-agent and ATIF."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cwm_core.atomic import atomic_write
from cwm_core.data.records import trajectory_from_row
from cwm_core.data.shards import read_shards
from cwm_core.dialog.openai import to_openai
from cwm_core.env.trajectory import Trajectory
from cwm_core.errors import DataError
from cwm_forager.agent.chat import FUNCTIONS, SPECS
from cwm_forager.collect.dialog import dialog_of

MINI_FORMAT = "mini-swe-agent-1.1"
ATIF_VERSION = "ATIF-v1.4"


def chat(trajectory: Trajectory, name: str) -> dict[str, Any]:
    """Return OpenAI messages with tool calls, the tools, and what is known of the episode."""
    return {
        "id": name,
        "messages": to_openai(dialog_of(trajectory), SPECS),
        "tools": FUNCTIONS,
        "metadata": _summary(trajectory),
    }


def mini_swe_agent(trajectory: Trajectory, name: str) -> dict[str, Any]:
    """Return a trajectory object of mini-swe-agent; its last message has the role ``exit``."""
    submission = str(trajectory.outcome.get("patch") or "")
    status = _mini_status(trajectory)
    messages = [
        {"role": "user" if m["role"] == "tool" else m["role"], "content": m["content"], "extra": {}}
        for m in _plain(trajectory)
    ]
    extra = {"exit_status": status, "submission": submission}
    messages.append({"role": "exit", "content": submission, "extra": extra})
    config = dict(trajectory.metadata.get("agent_config") or {})
    return {
        "info": {
            "model_stats": {"instance_cost": 0.0, "api_calls": len(trajectory.actions)},
            "config": {
                "agent": config,
                "agent_type": f"cwm_forager.agent.{config.get('name', 'agent')}",
                "model": {},
                "model_type": "",
                "environment": {},
                "environment_type": "cwm_forager.swe.environment.SweEnvironment",
            },
            "mini_version": "",
            "exit_status": status,
            "submission": submission,
        },
        "messages": messages,
        "trajectory_format": MINI_FORMAT,
        "instance_id": trajectory.task_id,
    }


def atif(trajectory: Trajectory, name: str) -> dict[str, Any]:
    """Return an ATIF object: a step per message, observations with the step that asked for them."""
    steps: list[dict[str, Any]] = []
    actions = iter(trajectory.actions)
    for message in to_openai(dialog_of(trajectory), SPECS):
        if message["role"] == "tool":
            result = {"source_call_id": message["tool_call_id"], "content": message["content"]}
            steps[-1].setdefault("observation", {"results": []})["results"].append(result)
            continue
        source = "agent" if message["role"] == "assistant" else message["role"]
        step = {"step_id": len(steps) + 1, "source": source, "message": message["content"]}
        if source == "agent":
            turn = next(actions)
            step |= _agent_fields(message, len(turn.token_ids or ()))
        steps.append(step)
    agent = str(trajectory.metadata.get("agent") or "agent")
    config = trajectory.metadata.get("agent_config") or {}
    return {
        "schema_version": ATIF_VERSION,
        "session_id": name,
        "agent": {
            "name": agent,
            "version": version("cwm-forager"),
            "model_name": str(config.get("model") or config.get("name") or agent),
        },
        "steps": steps,
        "final_metrics": {
            "total_completion_tokens": trajectory.action_tokens,
            "total_steps": len(steps),
        },
        "extra": _summary(trajectory),
    }


def _agent_fields(message: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if message.get("reasoning_content"):
        fields["reasoning_content"] = message["reasoning_content"]
    if message.get("tool_calls"):
        fields["tool_calls"] = [_atif_call(call) for call in message["tool_calls"]]
    if tokens:
        fields["metrics"] = {"completion_tokens": tokens}
    return fields


def _atif_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        arguments = {"input": function["arguments"]}
    if not isinstance(arguments, dict):
        arguments = {"input": function["arguments"]}
    return {
        "tool_call_id": call["id"],
        "function_name": function["name"],
        "arguments": arguments,
    }


def _plain(trajectory: Trajectory) -> Iterator[dict[str, str]]:
    for message in dialog_of(trajectory).messages:
        thought = f"<think>\n{message.reasoning}\n</think>\n" if message.reasoning else ""
        yield {"role": str(message.role), "content": thought + message.content}


def _mini_status(trajectory: Trajectory) -> str:
    known = {
        "answered": "Submitted",
        "turn_limit": "LimitsExceeded",
        "token_limit": "LimitsExceeded",
    }
    exit_ = str(trajectory.outcome.get("exit") or trajectory.exit_reason)
    return known.get(exit_, exit_)


def _summary(trajectory: Trajectory) -> dict[str, Any]:
    outcome = trajectory.outcome
    return {
        "task_id": trajectory.task_id,
        "repository": trajectory.metadata.get("repository", ""),
        "agent": trajectory.metadata.get("agent", ""),
        "rewards": dict(trajectory.rewards),
        "resolved": bool(outcome.get("resolved")),
        "exit": outcome.get("exit") or trajectory.exit_reason,
        "patch": outcome.get("patch"),
    }


FORMATS: dict[str, Callable[[Trajectory, str], dict[str, Any]]] = {
    "chat": chat,
    "mini-swe-agent": mini_swe_agent,
    "atif": atif,
}


def export(data: Path, name: str, out: Path) -> int:
    """Write trajectories in a format and return how many.

    `chat` gives one file of JSON lines; the others a directory with a file per trajectory.

    Raises:
        DataError: `data` holds no trajectories, or there is no such format.
    """
    if name not in FORMATS:
        raise DataError(f"there is no format {name!r}", f"there are: {', '.join(FORMATS)}")
    rows = ((row["trajectory_id"], trajectory_from_row(row)) for row in read_shards(data))
    if name == "chat":
        lines = [json.dumps(chat(t, key), ensure_ascii=False) + "\n" for key, t in rows]
        atomic_write(out, "".join(lines))
        return len(lines)
    suffix = "traj.json" if name == "mini-swe-agent" else "json"
    count = 0
    for key, trajectory in rows:
        text = json.dumps(FORMATS[name](trajectory, key), ensure_ascii=False, indent=2)
        atomic_write(out / f"{file_name(key)}.{suffix}", text + "\n")
        count += 1
    return count


def file_name(key: str) -> str:
    """Return a trajectory's id as the name of a file."""
    return re.sub(r"[^\w.-]", "_", key)[:200]
