"""Conversion between dialogs and the message dicts of OpenAI-compatible interfaces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any, Final

from cwm_core.dialog.edits import BLOCK_SHAPES, CreateBlock, EditBlock, parse_create, parse_edit
from cwm_core.dialog.messages import ChatRole, Dialog, Message
from cwm_core.dialog.template import split_reasoning
from cwm_core.dialog.tools import ToolCall, ToolSpec, announce_tools, find_calls
from cwm_core.errors import CodecError, DataError

_UNKNOWN_TOOL: Final = ToolSpec("")


def tool_specs(tools: Iterable[Mapping[str, Any]]) -> tuple[ToolSpec, ...]:
    """Read ``{"type": "function", "function": {...}}`` dicts; raises `DataError` for others."""
    specs = []
    for index, tool in enumerate(tools):
        try:
            function = tool["function"]
            properties = (function.get("parameters") or {}).get("properties") or {}
            name, description = function["name"], function.get("description") or ""
        except (KeyError, TypeError, AttributeError):
            raise DataError(
                f"tool {index} is no OpenAI function",
                'give {"type": "function", "function": {"name": ..., "parameters": ...}}',
            ) from None
        specs.append(ToolSpec(name, description, tuple(properties)))
    return tuple(specs)


def _by_name(tools: Iterable[ToolSpec]) -> dict[str, ToolSpec]:
    return {tool.name: tool for tool in tools}


# Contents of calls and their arguments


def content_from_arguments(
    name: str, arguments: str | Mapping[str, Any], spec: ToolSpec | None = None
) -> str:
    """Return the content of a call with JSON arguments.

    `edit` and `create` become their blocks; a single text argument is the content itself; anything
    else stays JSON, character by character if it came as text.
    """
    try:
        values = json.loads(arguments) if isinstance(arguments, str) else dict(arguments)
    except (ValueError, RecursionError):
        return str(arguments)
    if isinstance(values, dict) and all(isinstance(value, str) for value in values.values()):
        keys = set(values)
        if name == "edit" and keys == set(BLOCK_SHAPES["edit"][1]):
            return EditBlock(**values).render()
        if name == "create" and keys == set(BLOCK_SHAPES["create"][1]):
            return CreateBlock(**values).render()
        if len(values) == 1 and (spec is None or len(spec.parameters) == 1):
            return next(iter(values.values()))
    return arguments if isinstance(arguments, str) else json.dumps(values, ensure_ascii=False)


def _block(name: str, content: str) -> dict[str, str] | None:
    try:
        if name == "edit":
            edit = parse_edit(content)
            return {"path": edit.path, "search": edit.search, "replace": edit.replace}
        if name == "create":
            create = parse_create(content)
            return {"path": create.path, "content": create.content}
    except CodecError:
        pass
    return None


def arguments_from_content(name: str, content: str, spec: ToolSpec | None = None) -> str:
    """Return the JSON arguments of a call: the inverse of `content_from_arguments`."""
    block = _block(name, content)
    if block is not None:
        return json.dumps(block, ensure_ascii=False)
    parameters = (spec or _UNKNOWN_TOOL).parameters
    if len(parameters) == 1:
        return json.dumps({parameters[0]: content}, ensure_ascii=False)
    return content


# Dicts from messages


def _split_trailing_calls(content: str) -> tuple[str, list[ToolCall]]:
    """Return text and calls when the calls end the content as `Message.assistant` writes them."""
    found = find_calls(content)
    calls = list(found.calls)
    first = found.parts[0] if found.parts else ""
    text = first.removesuffix("\n") if isinstance(first, str) else ""
    if found.problems or not calls or Message.assistant(text, calls=calls).content != content:
        return content, []
    return text, calls


def to_openai(dialog: Dialog, tools: Iterable[ToolSpec] = ()) -> list[dict[str, Any]]:
    """Return message dicts with ``tool_calls`` and ``reasoning_content``.

    Calls that do not end their message stay in its text. Calls are named ``call_0``, ``call_1``,
    ...; a tool message answers the oldest open call of its tool.
    """
    specs = _by_name(tools)
    counter = count()
    open_calls: dict[str, str] = {}
    result = []
    for message in dialog.messages:
        entry: dict[str, Any] = {"role": str(message.role), "content": message.content}
        if message.reasoning is not None:
            entry["reasoning_content"] = message.reasoning
        if message.role is ChatRole.ASSISTANT:
            entry["content"], calls = _split_trailing_calls(message.content)
            named = {f"call_{next(counter)}": call for call in calls}
            open_calls.update({call_id: call.name for call_id, call in named.items()})
            if named:
                entry["tool_calls"] = [
                    _call_dict(call, call_id, specs.get(call.name))
                    for call_id, call in named.items()
                ]
        if message.role is ChatRole.TOOL:
            open_ids = (call_id for call_id, name in open_calls.items() if name == message.tool)
            answered = next(open_ids, "")
            open_calls.pop(answered, None)
            entry |= {"name": message.tool, "tool_call_id": answered}
        result.append(entry)
    return result


def _call_dict(call: ToolCall, call_id: str, spec: ToolSpec | None) -> dict[str, Any]:
    arguments = arguments_from_content(call.name, call.content, spec)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


# Messages from dicts


def from_openai(
    messages: Iterable[Mapping[str, Any]],
    tools: Iterable[ToolSpec] = (),
    *,
    announce: bool = True,
) -> Dialog:
    """Return the dialog of message dicts; `announce` adds the tools to the system prompt.

    Raises `DataError` for a role, content or call that CWM's format has no place for, and
    `CodecError` for a call that it cannot say.
    """
    tools = tuple(tools)
    specs = _by_name(tools)
    names: dict[str, str] = {}
    result = []
    for index, entry in enumerate(messages):
        try:
            result.append(_message(entry, specs, names))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(
                f"message {index} is no chat message: {error!r}",
                "give dicts with role, content and, where they apply, tool_calls or tool_call_id",
            ) from None
    if announce and tools:
        result = _announced(result, tools)
    return Dialog(tuple(result))


def _message(
    entry: Mapping[str, Any], specs: Mapping[str, ToolSpec], names: dict[str, str]
) -> Message:
    content = _text(entry.get("content"))
    role = "system" if entry["role"] == "developer" else entry["role"]
    if role == ChatRole.TOOL:
        call_id = entry.get("tool_call_id")
        return Message.tool_result(entry.get("name") or names[str(call_id)], content)
    if role != ChatRole.ASSISTANT:
        return Message(ChatRole(role), content)
    given = entry.get("tool_calls") or ()
    calls = [_call(call, specs) for call in given]
    names.update({str(one.get("id")): call.name for one, call in zip(given, calls)})
    reasoning = entry.get("reasoning_content")
    if reasoning is None:
        reasoning, content = split_reasoning(content) or (None, content)
    return Message.assistant(content, reasoning=reasoning, calls=calls)


def _call(call: Mapping[str, Any], specs: Mapping[str, ToolSpec]) -> ToolCall:
    name = call["function"]["name"]
    content = content_from_arguments(name, call["function"]["arguments"], specs.get(name))
    return ToolCall(name, content)


def _text(content: Any) -> str:
    """Return the text of a content, which may be a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part["text"] for part in content)


def _announced(messages: list[Message], tools: Sequence[ToolSpec]) -> list[Message]:
    announcement = announce_tools(tools)
    if messages and messages[0].role is ChatRole.SYSTEM:
        text = f"{messages[0].content.strip()}\n\n{announcement}".strip()
        return [Message.system(text), *messages[1:]]
    return [Message.system(announcement), *messages]
