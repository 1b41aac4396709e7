"""Random choices that are the same on every Python version and machine.

Everything is built on `random.Random.random()`, the one method whose sequence the standard library
promises to keep for a given seed.
"""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Rng:
    """A seeded source of choices."""

    __slots__ = ("_random",)

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed).random

    def below(self, count: int) -> int:
        """An integer in 0..count-1."""
        return int(self._random() * count)

    def between(self, low: int, high: int) -> int:
        """An integer in low..high, both included."""
        return low + int(self._random() * (high - low + 1))

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + self._random() * (high - low)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """One of `items`, each equally likely."""
        return items[int(self._random() * len(items))]

    def weighted(self, table: Sequence[tuple[float, T]]) -> T:
        """One of the values of (weight, value) pairs, by weight."""
        mark = self._random() * sum([weight for weight, _ in table])
        for weight, value in table:
            mark -= weight
            if mark < 0:
                return value
        return table[-1][1]

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different positions of `items`, in random order."""
        left = list(items)
        return [left.pop(int(self._random() * len(left))) for _ in range(min(count, len(left)))]
