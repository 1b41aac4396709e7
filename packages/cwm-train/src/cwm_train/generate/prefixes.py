"""Keys and values of prompts and finished sequences, kept for requests that begin like them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cwm_train.model.cache import Snapshot

Ids = NDArray[np.int64]


class PrefixStore:
    """The most recently used snapshots, up to `limit_bytes`.

    A sliding layer's ring holds the last tokens only: once it has wrapped, a snapshot serves
    requests that continue it (or repeat its last token), not those that leave it earlier.
    """

    def __init__(self, limit_bytes: int, window: int | None) -> None:
        self._limit, self._window = limit_bytes, window
        self._kept: OrderedDict[bytes, tuple[Ids, Snapshot]] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, ids: Sequence[int]) -> bool:
        return _key(np.asarray(ids)) in self._kept

    @property
    def enabled(self) -> bool:
        """Whether anything is ever kept."""
        return self._limit > 0

    def add(self, ids: Sequence[int], snapshot: Snapshot) -> None:
        """Keep the snapshot of `ids`; the least recently used ones make room."""
        array = np.asarray(ids[: snapshot.length], dtype=np.int64)
        self._drop(_key(array))
        if snapshot.nbytes > self._limit:
            return
        self._kept[_key(array)] = array, snapshot
        self.nbytes += snapshot.nbytes
        while self.nbytes > self._limit:
            self._drop(next(iter(self._kept)))

    def find(self, ids: Sequence[int]) -> tuple[int, Snapshot] | None:
        """Return the longest usable beginning of `ids`, as its length and a snapshot to cut."""
        wanted = np.asarray(ids, dtype=np.int64)
        best, best_key = 0, b""
        for key, (kept, snapshot) in self._kept.items():
            length = self._usable(kept, wanted, snapshot)
            if length > best:
                best, best_key = length, key
        if not best:
            return None
        self._kept.move_to_end(best_key)
        return best, self._kept[best_key][1]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.nbytes = 0

    def _usable(self, kept: Ids, wanted: Ids, snapshot: Snapshot) -> int:
        most = min(len(kept), len(wanted))
        different = np.flatnonzero(kept[:most] != wanted[:most])
        common = int(different[0]) if len(different) else most
        wrapped = self._window is not None and snapshot.length > self._window
        return common if not wrapped or common >= snapshot.length - 1 else 0

    def _drop(self, key: bytes) -> None:
        if key in self._kept:
            self.nbytes -= self._kept.pop(key)[1].nbytes


def _key(ids: Ids) -> bytes:
    return ids.astype(np.int64, copy=False).tobytes()
