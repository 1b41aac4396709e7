"""Token by token to text: whole characters only, and nothing of a stop string."""

from __future__ import annotations

from collections.abc import Sequence

from cwm_core.text.tokenizer import Tokenizer

_REPLACEMENT = "\ufffd"
_LONGEST_CHARACTER = 4
"""Bytes of a character in UTF-8, so tokens that can hold a part of one."""


class Detokenizer:
    """Gives text out as soon as its characters are whole."""

    def __init__(
        self, tokenizer: Tokenizer, skip_special: bool, shown: frozenset[int] = frozenset()
    ) -> None:
        self._tokenizer, self._skip, self._shown = tokenizer, skip_special, shown
        self._pending: list[int] = []

    def add(self, token: int) -> str:
        """Take a token in; return the text that it completes."""
        if token in self._tokenizer.special_names:
            held = self.flush()
            hidden = self._skip and token not in self._shown
            return held + ("" if hidden else self._tokenizer.special_names[token])
        self._pending.append(token)
        text = self._tokenizer.decode(self._pending)
        if text.endswith(_REPLACEMENT) and len(self._pending) < _LONGEST_CHARACTER:
            return ""
        self._pending = []
        return text

    def flush(self) -> str:
        """Return what is held back, incomplete characters as U+FFFD."""
        pending, self._pending = self._pending, []
        return self._tokenizer.decode(pending) if pending else ""


class StopStrings:
    """Lets text through up to the first of `stops`; holds back what may be the start of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops, self._held = tuple(stops), ""
        self.found = False

    def add(self, text: str) -> str:
        """Take text in; return what is certainly before any stop."""
        text = self._held + text
        places = [place for stop in self._stops if (place := text.find(stop)) >= 0]
        if places:
            self.found, self._held = True, ""
            return text[: min(places)]
        keep = max((overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return what was held back."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, marker: str) -> int:
    """Return how many characters at the end of `text` may begin `marker`."""
    for length in range(min(len(text), len(marker) - 1), 0, -1):
        if text.endswith(marker[:length]):
            return length
    return 0
