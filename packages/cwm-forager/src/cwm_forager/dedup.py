"""Near-duplicate removal among trajectories of the same repository.

CWM's rule: per repository, concatenate each trajectory's actions and keep a set in which every
pair has a Jaccard similarity below 0.5. Here the sets are shingles of `SHINGLE` words; MinHash
with banding (`BANDS` of `ROWS` permutations) proposes pairs, and each proposal is decided by the
exact similarity. A pair of similarity s is proposed with probability 1 - (1 - s**ROWS)**BANDS:
0.996 at 0.5, 0.99994 at 0.6. The first of two near-duplicates stays.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from datasketch import MinHash, MinHashLSH

SHINGLE = 5
BANDS = 42
ROWS = 3
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Match:
    """The kept near-duplicate of a trajectory and their exact Jaccard similarity."""

    trajectory_id: str
    similarity: float


class NearDuplicates:
    """The kept trajectories, by group; a new one is matched against those of its own group."""

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold
        self._groups: dict[str, _Group] = {}

    def add(self, group: str, trajectory_id: str, text: str) -> Match | None:
        """Keep a trajectory and return None, or return the kept one that it resembles.

        `trajectory_id` must be new in its group. Texts without a word match each other alone.
        """
        hashes = shingle_hashes(text)
        members = self._groups.setdefault(group, _Group())
        match = members.most_similar(hashes, self.threshold)
        if match is None:
            members.insert(trajectory_id, hashes)
        return match


class _Group:
    def __init__(self) -> None:
        from datasketch import MinHashLSH

        self._index: MinHashLSH = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
        self._hashes: dict[str, np.ndarray] = {}
        self._signature: MinHash | None = None

    def most_similar(self, hashes: np.ndarray, threshold: float) -> Match | None:
        self._signature = _signature(hashes)
        candidates = sorted(self._index.query(self._signature))
        matches = [Match(name, jaccard(hashes, self._hashes[name])) for name in candidates]
        best = max(matches, key=lambda match: match.similarity, default=None)
        return best if best is not None and best.similarity >= threshold else None

    def insert(self, trajectory_id: str, hashes: np.ndarray) -> None:
        assert self._signature is not None
        self._index.insert(trajectory_id, self._signature)
        self._hashes[trajectory_id] = hashes


def actions_text(turns: list[dict[str, Any]]) -> str:
    """Concatenate the actions of a trajectory row's `turns`."""
    return "\n".join(turn["text"] for turn in turns if turn["role"] == "action")


def shingle_hashes(text: str) -> np.ndarray:
    """Return the sorted, unique 64-bit hashes of the text's shingles.

    A text of fewer than `SHINGLE` words is one shingle. A shingle's hash mixes those of its words
    one after the other, as splitmix64 does, over all shingles at once.
    """
    import numpy as np

    words = _WORD.findall(text)
    hashes = np.fromiter(map(_word_hash, words), dtype=np.uint64, count=len(words))
    length = min(SHINGLE, len(words))
    mixed = np.full(max(1, len(words) - SHINGLE + 1), length, dtype=np.uint64)
    for offset in range(length):
        mixed = _mix(mixed ^ hashes[offset : offset + len(mixed)])
    return np.unique(mixed)


@lru_cache(maxsize=1 << 17)
def _word_hash(word: str) -> int:
    data = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _mix(values: np.ndarray) -> np.ndarray:
    import numpy as np

    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """Return |A ∩ B| / |A ∪ B| of two sorted arrays without repeats."""
    import numpy as np

    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


def _signature(hashes: np.ndarray) -> MinHash:
    signature = _empty_signature().copy()
    signature.update_batch((hashes & 0xFFFFFFFF).tolist())
    return signature


@cache
def _empty_signature() -> MinHash:
    from datasketch import MinHash

    return MinHash(num_perm=BANDS * ROWS, hashfunc=int)
