"""Best-fit packing: documents into rows of fixed length, none cut."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Pack items into bins of `capacity`: longest first, each into the fullest bin that fits.

    Returns the indices of the items of each bin. Raises `ValueError` for an item that fits no bin.
    Best-fit decreasing wastes at most 22 % (asymptotically) and in practice around 1 %.
    """
    bins: list[list[int]] = []
    gaps: list[tuple[int, int]] = []  # (free space, bin), sorted
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        if length > capacity:
            raise ValueError(f"an item of length {length} fits no bin of {capacity}")
        place = bisect_left(gaps, (length, -1))
        if place < len(gaps):
            free, number = gaps.pop(place)
        else:
            free, number = capacity, len(bins)
            bins.append([])
        bins[number].append(index)
        if free > length:
            insort(gaps, (free - length, number))
    return bins
