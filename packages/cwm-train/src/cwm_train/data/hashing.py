"""Pseudo-random numbers and orders that are computed anywhere, without state."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

_ROUNDS = 6


def mix(values: Words) -> Words:
    """Scramble 64-bit words (the finalizer of SplitMix64: Steele et al., OOPSLA 2014)."""
    x = values + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def key_of(*parts: int | str) -> np.uint64:
    """Fold numbers and texts into one 64-bit key."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def uniform(numbers: Words, *parts: int | str) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1), one for each of `numbers`, under the key of `parts`."""
    return (mix(numbers ^ key_of(*parts)) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Permutation:
    """A pseudo-random order of ``range(size)`` that is computed place by place, in no memory.

    A Feistel network permutes the next power of four; places that it leads outside go round again
    until they are inside (cycle walking: Black and Rogaway, CT-RSA 2002).
    """

    def __init__(self, size: int, *key: int | str) -> None:
        self._size = np.uint64(size)
        self._half = np.uint64((max(size - 1, 1).bit_length() + 1) // 2)
        self._mask = np.uint64((1 << int(self._half)) - 1)
        self._keys = [key_of(number, *key) for number in range(_ROUNDS)]

    def __call__(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return what stands at the given places."""
        found = self._network(places.astype(np.uint64))
        outside = np.flatnonzero(found >= self._size)
        while len(outside):
            found[outside] = self._network(found[outside])
            outside = outside[found[outside] >= self._size]
        return found.astype(np.int64)

    def _network(self, values: Words) -> Words:
        left, right = values >> self._half, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (mix(right ^ key) & self._mask)
        return np.asarray((left << self._half) | right)
