"""Conversations in the chat format as training documents."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from cwm_core.dialog.messages import ChatRole, Dialog, Message
from cwm_core.dialog.openai import from_openai, tool_specs
from cwm_core.dialog.template import (
    REASONING_SYSTEM_PROMPT,
    ChatTemplate,
    EncodedDialog,
    Part,
    ReasoningStyle,
    render_ids,
)
from cwm_core.errors import CwmError, DataError
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.data.config import Chat
from cwm_train.data.document import DocumentSource
from cwm_train.data.hashing import uniform
from cwm_train.data.rows import Rejects, described, files_of, is_row_file, rows_of
from cwm_train.data.spans import Codes, Span, encode_spans
from cwm_train.data.store import Encoded
from cwm_train.data.stored import Recipe, Unit, tokenised
from cwm_train.data.text import not_empty

_KINDS = {
    ChatRole.SYSTEM: Span.PROMPT,
    ChatRole.USER: Span.PROMPT,
    ChatRole.ASSISTANT: Span.ACTION,
    ChatRole.TOOL: Span.OBSERVATION,
}


def build_chat(config: Chat, tokenizer: Tokenizer) -> DocumentSource:
    """Tokenise all conversations; raises `DataError` for a bad row or when there is none."""
    template = ChatTemplate(
        style=ReasoningStyle(config.style), preserve_previous_think=config.preserve_previous_think
    )

    def encode(unit: Unit) -> Iterator[Encoded]:
        file = unit.files[0]
        rejects = Rejects(config.bad_rows, str(file))
        for number, row in rows_of(file, None, rejects):
            try:
                yield _document(row, number, config, template, tokenizer)
            except CwmError as error:
                rejects.add(f"{file}, row {number}", described(error), error.hint or "repair it")
        rejects.report()

    files = [file for file in files_of(config.path, config.pattern) if is_row_file(file)]
    recipe = Recipe(config, tokenizer, encode, "row")
    units = [Unit((file,)) for file in files]
    source = tokenised(recipe, units, config.loss, config.limit, config.cache)
    return not_empty(source, config.path, "conversation", "give .jsonl or .parquet files")


def _document(
    row: Any, number: int, config: Chat, template: ChatTemplate, tokenizer: Tokenizer
) -> Encoded:
    entries, dialog = _dialog(row, config)
    # drawn by what is said, too: the first rows of all files must not be drawn alike
    kept = uniform(np.array([number], np.uint64), repr(entries[0])[:200])[0] < config.reasoning
    dialog = with_reasoning(dialog, config.reasoning_prompt) if kept else without_reasoning(dialog)
    encoded = render_ids(dialog, tokenizer, template)
    offset = len(dialog.messages) - len(entries)  # a system message that was put in front
    assistants = [i + offset for i, e in enumerate(entries) if e.get("role") == "assistant"]
    wanted = assistants[-1:] if config.turns == "last" else assistants
    silent = {i + offset for i, entry in enumerate(entries) if entry.get("weight") == 0}
    never = (set(assistants) - set(wanted)) | silent
    return Encoded(encoded.ids, dialog_codes(encoded, never), number)


def _dialog(row: Any, config: Chat) -> tuple[list[dict[str, Any]], Dialog]:
    entries = row.get(config.field) if isinstance(row, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(
            f"no messages in the field {config.field!r}", "set `field` to the key of the messages"
        )
    # Parquet fills keys that a message does not have with nulls
    entries = [
        {key: value for key, value in entry.items() if value is not None}
        if isinstance(entry, dict)
        else entry
        for entry in entries
    ]
    tools = tool_specs(row.get(config.tools_field) or ())
    dialog = from_openai(entries, tools)
    if not any(message.role is ChatRole.ASSISTANT for message in dialog.messages):
        raise DataError("no message of an assistant", "leave such rows out: they teach nothing")
    return entries, dialog


def with_reasoning(dialog: Dialog, announce: bool) -> Dialog:
    """Return a dialog whose system prompt switches reasoning on, if it shows any."""
    messages = dialog.messages
    if not announce or not any(message.reasoning is not None for message in messages):
        return dialog
    first = messages[0]
    if first.role is not ChatRole.SYSTEM:
        return Dialog((Message.system(REASONING_SYSTEM_PROMPT), *messages))
    if first.content.startswith(REASONING_SYSTEM_PROMPT):
        return dialog
    text = f"{REASONING_SYSTEM_PROMPT}\n\n{first.content}"
    return Dialog((replace(first, content=text), *messages[1:]))


def without_reasoning(dialog: Dialog) -> Dialog:
    """Return a dialog in which nobody shows reasoning."""
    return Dialog(tuple(replace(message, reasoning=None) for message in dialog.messages))


def dialog_codes(encoded: EncodedDialog, never: Collection[int] = ()) -> Codes:
    """Return the span codes of a rendered dialog; messages in `never` carry no loss.

    Headers, and the opening of the reasoning, which a model is given, count as prompt.
    """
    kinds = np.array([_KINDS[role] for role in encoded.roles])
    message = np.asarray(encoded.message_index)
    said = np.asarray(encoded.parts) >= Part.REASONING
    return encode_spans(
        np.where(said, kinds[message], Span.PROMPT), message, np.isin(message, list(never))
    )
