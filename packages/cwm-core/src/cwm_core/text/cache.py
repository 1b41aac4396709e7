"""A bounded memory of recent encodings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Ids = tuple[int, ...]


class EncodingCache:
    """Remembers at least the `size` most recent texts of at most `longest` characters.

    Two generations: when the young one is full it becomes the old one, and what the old one held
    is forgotten; a text that is found in the old one returns to the young one.
    """

    def __init__(
        self, encode: Callable[[list[str]], list[Ids]], *, size: int = 32_768, longest: int = 1_024
    ) -> None:
        self._encode = encode
        self._size = size
        self._longest = longest
        self._young: dict[str, Ids] = {}
        self._old: dict[str, Ids] = {}

    def _find(self, text: str) -> Ids | None:
        found = self._young.get(text)
        if found is None:
            found = self._old.get(text)
            if found is not None:
                self._keep(text, found)
        return found

    def _keep(self, text: str, ids: Ids) -> None:
        if len(text) > self._longest:
            return
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[text] = ids

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text; all unknown texts are encoded in one batch."""
        found = [self._find(text) for text in texts]
        missing = list(dict.fromkeys(t for t, ids in zip(texts, found) if ids is None))
        if not missing:
            return found  # type: ignore[return-value]
        fresh = dict(zip(missing, self._encode(missing)))
        for text, ids in fresh.items():
            self._keep(text, ids)
        return [fresh[text] if ids is None else ids for text, ids in zip(texts, found)]
