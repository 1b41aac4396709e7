"""Checks and adapts the contents of a `tokenizer.json`: CWM's special tokens at their places."""

from __future__ import annotations

from typing import Any

from cwm_core.errors import DataError
from cwm_core.text.special_tokens import BEGIN_OF_TEXT, FIRST_SPECIAL_ID, NAMED_TOKENS

_HINT = (
    "train one with `cwm tokenizer train`, or give the tokenizer.json of a Llama-3-family model"
    " (128000 tokens and 256 special ones)"
)


def is_llama3(content: dict[str, Any]) -> bool:
    """Whether the begin-of-text token sits where Llama 3 has it."""
    return _added_by_id(content).get(FIRST_SPECIAL_ID, {}).get("content") == BEGIN_OF_TEXT


def _added_by_id(content: dict[str, Any]) -> dict[int, dict[str, Any]]:
    return {token["id"]: token for token in content.get("added_tokens", ())}


def place_specials(content: dict[str, Any], where: str) -> None:
    """Give CWM's names to Llama 3's reserved ids, in place.

    Raises `DataError` when an id does not exist or a name is already taken by another one.
    """
    added = _added_by_id(content)
    missing = [i for i in NAMED_TOKENS.values() if i not in added]
    if missing:
        raise DataError(f"{where} lacks the special token ids {missing}", _HINT)
    taken = {token["content"]: token["id"] for token in added.values()}
    renamed = {}
    for name, token_id in NAMED_TOKENS.items():
        if taken.get(name, token_id) != token_id:
            raise DataError(
                f"{where} has {name} at id {taken[name]}; CWM has it at {token_id}", _HINT
            )
        renamed[added[token_id]["content"]] = name
        added[token_id].update(content=name, special=True, normalized=False)
    vocabulary = content["model"].get("vocab")
    if isinstance(vocabulary, dict):
        for old, new in renamed.items():
            if old in vocabulary:
                vocabulary[new] = vocabulary.pop(old)


def check_specials(content: dict[str, Any], where: str) -> None:
    """Raise `DataError` unless every named token is there; marks them as special, in place."""
    added = {token["content"]: token for token in content.get("added_tokens", ())}
    missing = [name for name in NAMED_TOKENS if name not in added]
    if missing:
        raise DataError(f"{where} lacks the special tokens {', '.join(missing)}", _HINT)
    for name in NAMED_TOKENS:
        added[name].update(special=True, normalized=False)
