"""Episodes of agents, from trajectory shards, as training documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cwm_core.data.records import trajectory_from_row
from cwm_core.data.shards import read_shards, shard_files
from cwm_core.dialog.messages import ChatRole, Dialog, Message
from cwm_core.dialog.template import ChatTemplate, ReasoningStyle, render_ids, split_reasoning
from cwm_core.env.trajectory import Trajectory
from cwm_core.errors import CwmError, DataError
from cwm_core.text.special_tokens import BEGIN_OF_TEXT, END_OF_TEXT
from cwm_core.text.tokenizer import Tokenizer
from cwm_train.data.chat import dialog_codes
from cwm_train.data.config import Trajectories
from cwm_train.data.document import DocumentSource
from cwm_train.data.rows import Rejects, described
from cwm_train.data.spans import Span, encode_spans
from cwm_train.data.store import Encoded
from cwm_train.data.stored import Recipe, Unit, tokenised
from cwm_train.data.text import not_empty

_KINDS = {"prompt": Span.PROMPT, "action": Span.ACTION, "observation": Span.OBSERVATION}
_ENVIRONMENT = "environment"
"""Name of the tool that answers where the action called none."""


def build_trajectories(config: Trajectories, tokenizer: Tokenizer) -> DocumentSource:
    """Tokenise all episodes; raises `DataError` for a bad row or when none is left."""

    def encode(unit: Unit) -> Iterator[Encoded]:
        file = unit.files[0]
        rejects = Rejects(config.bad_rows, str(file))
        for number, row in enumerate(read_shards(file), start=1):
            try:
                document = _document(row, number, config, tokenizer)
            except CwmError as error:
                rejects.add(f"{file}, row {number}", described(error), error.hint or "repair it")
                continue
            if document is not None:
                yield document
        rejects.report()

    units = [Unit((file,)) for file in shard_files(config.path)]
    recipe = Recipe(config, tokenizer, encode, "row")
    source = tokenised(recipe, units, config.loss, config.limit, config.cache)
    return not_empty(source, config.path, "episode that can be trained on", "check `min_reward`")


def _document(
    row: Mapping[str, Any], number: int, config: Trajectories, tokenizer: Tokenizer
) -> Encoded | None:
    trajectory = trajectory_from_row(row)
    reward = trajectory.rewards.get("environment", 0.0)
    if not trajectory.actions or (config.min_reward is not None and reward < config.min_reward):
        return None
    whole = all(turn.token_ids is not None or not turn.text for turn in trajectory.turns)
    if config.tokens == "stored" and whole:
        return _stored(trajectory, number, tokenizer)
    encoded = render_ids(
        dialog_of(trajectory), tokenizer, ChatTemplate(style=ReasoningStyle(config.style))
    )
    return Encoded(encoded.ids, dialog_codes(encoded), number)


def _stored(trajectory: Trajectory, number: int, tokenizer: Tokenizer) -> Encoded:
    """Take the token ids as they are; only of actions does the loss mask of a turn count."""
    ids: list[int] = []
    kinds: list[Span] = []
    groups: list[int] = []
    never: list[bool] = []
    for index, turn in enumerate(trajectory.turns):
        tokens = turn.token_ids or ()
        _check_tokens(tokens, "" if turn.role == "prompt" else turn.text, index, tokenizer)
        ids += tokens
        kinds += [_KINDS[turn.role]] * len(tokens)
        groups += [index] * len(tokens)
        masked = turn.role == "action" and turn.loss_mask is not None
        never += (
            [not wanted for wanted in turn.loss_mask or ()] if masked else [False] * len(tokens)
        )
    begin, end = tokenizer.special_id(BEGIN_OF_TEXT), tokenizer.special_id(END_OF_TEXT)
    if ids[0] != begin:
        ids, kinds = [begin, *ids], [Span.PROMPT, *kinds]
        groups, never = [0, *groups], [False, *never]
    if trajectory.turns[-1].role == "observation" and ids[-1] != end:
        ids, kinds = [*ids, end], [*kinds, Span.OBSERVATION]
        groups, never = [*groups, groups[-1]], [*never, False]
    return Encoded(ids, encode_spans(kinds, groups, never), number)


def _check_tokens(tokens: tuple[int, ...], text: str, turn: int, tokenizer: Tokenizer) -> None:
    """Raise `DataError` where tokens are not of this tokenizer; a prompt, whose messages are joined
    by headers that its text leaves out, is checked for foreign ids alone (`text` is empty)."""
    hint = "give the tokenizer of the agent's model, or set tokens=chat to encode the text anew"
    outside = [token for token in tokens if not 0 <= token < tokenizer.vocab_size]
    if outside:
        raise DataError(
            f"turn {turn} has the token id {outside[0]}, but the tokenizer ends at "
            f"{tokenizer.vocab_size - 1}",
            hint,
        )
    spelt = text in tokenizer.decode(tokens) or (
        text.strip() in tokenizer.decode(tokens, skip_special=True)
    )
    if text and tokens and not spelt:
        raise DataError(f"turn {turn}: its token ids do not spell its text", hint)


def dialog_of(trajectory: Trajectory) -> Dialog:
    """Return an episode's texts as a conversation.

    The prompt is a user's message, an action the assistant's, an observation the answer of the
    first tool that the action called, or of `environment`.
    """
    messages: list[Message] = []
    for turn in trajectory.turns:
        if turn.role == "prompt":
            messages.append(Message.user(turn.text))
        elif turn.role == "action":
            reasoning, content = split_reasoning(turn.text) or (None, turn.text)
            messages.append(Message(ChatRole.ASSISTANT, content, reasoning))
        else:
            calls = messages[-1].calls if messages else ()
            messages.append(
                Message.tool_result(calls[0].name if calls else _ENVIRONMENT, turn.text)
            )
    return Dialog(tuple(messages))
