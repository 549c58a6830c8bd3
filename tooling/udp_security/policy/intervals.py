# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Sets of whole numbers as sorted bounds, and a number line cut into the parts that matter.

Bounds are one flat sequence, ``low, high + 1, low, high + 1, ...``, ascending, without intervals
that overlap or touch: equal sets have equal bounds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

Interval = tuple[int, int]
Bounds = tuple[int, ...]


def union(intervals: Iterable[Interval]) -> list[int]:
    """The bounds of intervals (low, high), both of which belong to them, in any order."""
    bounds: list[int] = []
    for low, high in sorted(intervals):
        if bounds and low <= bounds[-1]:
            bounds[-1] = max(bounds[-1], high + 1)
        else:
            bounds += (low, high + 1)
    return bounds


def complement(bounds: Sequence[int], low: int, end: int) -> Bounds:
    """What of ``low`` up to, not including, ``end`` is not in a set that lies within."""
    begin = bounds[1:] if bounds[:1] == [low] else [low, *bounds]
    return tuple(begin[:-1] if begin[-1:] == [end] else [*begin, end])


def intervals(bounds: Sequence[int]) -> Iterable[Interval]:
    """The intervals (low, high), both of which belong to them."""
    return ((low, end - 1) for low, end in zip(bounds[::2], bounds[1::2], strict=True))


class Axis:
    """A number line, cut into parts that each of the given sets has all of or nothing of.

    A set is then an int with one bit a part, from the part that begins lowest. Numbers that the
    same sets hold are one part, wherever they lie, so there are few.
    """

    def __init__(self, sets: Iterable[Bounds]) -> None:
        distinct = dict.fromkeys(sets)
        ends = sorted((end, index) for index, set_ in enumerate(distinct) for end in set_)
        holding = begin = 0
        parts: dict[int, list[Interval]] = {}
        for end, index in ends:
            if holding and end > begin:
                parts.setdefault(holding, []).append((begin, end - 1))
            begin = end
            holding ^= 1 << index
        self._parts = list(parts.values())
        sides = [0] * len(distinct)
        for number, holders in enumerate(parts):
            for index in bits(holders):
                sides[index] |= 1 << number
        self._sides = dict(zip(distinct, sides, strict=True))

    def side(self, set_: Bounds) -> int:
        """One of the given sets as parts."""
        return self._sides[set_]

    def bounds(self, side: int) -> Bounds:
        """The set that consists of these parts."""
        return tuple(union(piece for number in bits(side) for piece in self._parts[number]))

    def shorten(self, side: int, needed: int) -> int:
        """Of a set, what makes up the fewest intervals, and as much as possible then.

        All that is ``needed`` stays.
        """
        starts = self.bounds(needed)[::2]

        def kept(low: int, high: int) -> bool:
            place = bisect_left(starts, low)
            return place < len(starts) and starts[place] <= high

        runs = union(run for run in intervals(self.bounds(side)) if kept(*run))
        whole = needed
        for number in bits(side & ~needed):
            if any(bisect_right(runs, low) & 1 for low, _ in self._parts[number]):
                whole |= 1 << number
        return min((side, whole, needed), key=lambda each: len(self.bounds(each)))


def bits(number: int) -> Iterable[int]:
    """The places of the ones, from the lowest."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
