# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Sets that are unions of cubes: their exact difference, and few cubes that say the same.

A cube has a side on each axis; it holds every point whose coordinates all lie in its sides. An axis
consists of parts, and a side is an int with a bit for each part that it has. No side is empty.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from operator import or_
from typing import Final

Cube = tuple[int, ...]
#: (axis, side, what of it is needed) -> the side, or less of it where that is shorter to read.
Shorten = Callable[[int, int, int], int]

# So many cubes nobody reads, and to cover them with fewer takes time that grows with the square.
_MANY: Final = 200


class _TooManyError(Exception):
    """There would be more cubes than the caller has a use for."""


def subtract(inside: Sequence[Cube], outside: Sequence[Cube]) -> list[Cube]:
    """What the first cubes hold and the second do not, as cubes without common points.

    Equal sets give equal lists, whatever cubes they were made of.
    """
    if not inside:
        return []
    found = _merged(_slices(inside, outside))
    axes = range(len(inside[0]))
    # A set is often simple along one axis only.
    for first in axes[1:3]:
        order = [first, *(axis for axis in axes if axis != first)]
        back = [order.index(axis) for axis in axes]
        with contextlib.suppress(_TooManyError):
            sliced = _slices(_turned(found, order), [], limit=2 * len(found) + _MANY)
            found = min(found, _merged(_turned(sliced, back)), key=len)
    return found


def cover(cubes: Sequence[Cube], ignorable: Sequence[Cube], shorten: Shorten) -> list[Cube]:
    """Few cubes, with little to read, that hold what the given ones do.

    The given ones have no common points. What only ``ignorable`` cubes hold may be in the new ones
    or not. These may overlap; but none is needless, and no two of them could be one. That they are
    the fewest is not promised (the problem is NP-hard); this is the usual heuristic of logic
    minimisation (Espresso): let each cube grow as far as the set reaches, leave out those that the
    others cover, let the rest shrink where that says it more shortly. Very many cubes stay as they
    are.
    """
    if len(cubes) > _MANY:
        return [cube for cube in cubes if _alone(cube, ignorable)]
    whole = [*cubes, *subtract(ignorable, cubes)]
    grown: list[Cube] = []
    for cube in cubes:
        if not any(_within(cube, large) for large in grown):
            large = _grown(cube, whole)
            grown = [*(other for other in grown if not _within(other, large)), large]
    needed = grown
    for cube in grown:
        rest = [other for other in needed if other != cube]
        if not _alone(cube, [*rest, *ignorable]):
            needed = rest
    for index, cube in enumerate(needed):
        rest = needed[:index] + needed[index + 1 :]
        alone = _alone(cube, [*rest, *ignorable])
        needed[index] = tuple(
            shorten(axis, side, _union(alone, axis)) for axis, side in enumerate(cube)
        )
    return _merged(needed)


def parts(sides: Iterable[int]) -> list[int]:
    """The fewest disjoint sets that each of the sides is a union of, lowest bit first."""
    found: list[int] = []
    covered = 0
    for side in sorted({*sides} - {0}):
        rest, new = side & covered, side & ~covered
        covered |= side
        # From the last: in this order, those are the likely ones to have something in common.
        for place in range(len(found) - 1, -1, -1):
            if not rest:
                break
            if common := found[place] & rest:
                if common != found[place]:
                    found[place] ^= common
                    found.append(common)
                rest ^= common
        if new:
            found.append(new)
    return sorted(found, key=lambda part: part & -part)


def _slices(
    inside: Iterable[Cube], outside: Iterable[Cube], limit: float = math.inf
) -> tuple[Cube, ...]:
    """The difference, sliced along its first axis; _TooManyError above the limit.

    Parts with equal slices are one side: this makes the result the same for the same set.
    """
    ours, theirs = _heads(inside), _heads(outside)
    span = reduce(or_, ours.values(), 0)
    if () in ours:
        side = span & ~theirs.get((), 0)
        return ((side,),) if side else ()
    found = parts(side & span for side in (*ours.values(), *theirs.values()))
    # A side consists of whole parts, so the lowest bit of what is left of it tells the next one.
    # (To try each part with each side takes time that grows with the square.)
    parts_by_lowest = {part & -part: number for number, part in enumerate(found)}
    within: list[list[Cube]] = [[] for _ in found]
    without: list[list[Cube]] = [[] for _ in found]
    for heads, holding in ((ours, within), (theirs, without)):
        for rest, side in heads.items():
            left = side & span
            while left:
                number = parts_by_lowest[left & -left]
                holding[number].append(rest)
                left ^= found[number]
    slices: dict[tuple[Cube, ...], int] = {}
    count = 0
    for number, part in enumerate(found):
        slice_ = _slices(within[number], without[number], limit)
        if slice_ not in slices:
            count += len(slice_)
            if count > limit:
                raise _TooManyError
        slices[slice_] = slices.get(slice_, 0) | part
    return tuple((side, *cube) for slice_, side in slices.items() for cube in slice_)


def _heads(cubes: Iterable[Cube]) -> dict[Cube, int]:
    """First sides by the others; cubes that agree in these are one."""
    heads: dict[Cube, int] = {}
    for side, *others in cubes:
        rest = tuple(others)
        heads[rest] = heads.get(rest, 0) | side
    return heads


def _turned(cubes: Iterable[Cube], order: Sequence[int]) -> list[Cube]:
    return [tuple(cube[axis] for axis in order) for cube in cubes]


def _merged(cubes: Sequence[Cube]) -> list[Cube]:
    """The same set; cubes that differ on one axis only have become one."""
    merged, before = list(cubes), -1
    while len(merged) != before:
        before = len(merged)
        for axis in range(len(merged[0]) if merged else 0):
            sides: dict[tuple[Cube, Cube], int] = {}
            for cube in merged:
                rest = cube[:axis], cube[axis + 1 :]
                sides[rest] = sides.get(rest, 0) | cube[axis]
            merged = [(*left, side, *right) for (left, right), side in sides.items()]
    return merged


def _grown(cube: Cube, whole: Sequence[Cube]) -> Cube:
    """The cube, larger where the set reaches further; ``whole`` is the set in disjoint cubes."""
    for axis in range(len(cube)):
        side = cube[axis]
        others = [other for other in range(len(cube)) if other != axis]
        # A part belongs to the larger cube if all of the cube's points, moved there, are in the
        # set. As `whole` is disjoint, counting is enough.
        near = [
            (found[axis], math.prod((found[a] & cube[a]).bit_count() for a in others))
            for found in _meeting(cube, whole, others)
        ]
        needed = math.prod(cube[a].bit_count() for a in others)
        for part in parts(found & ~side for found, _ in near):
            if sum(count for found, count in near if found & part) == needed:
                side |= part
        cube = (*cube[:axis], side, *cube[axis + 1 :])
    return cube


def _alone(cube: Cube, others: Sequence[Cube]) -> list[Cube]:
    """What only this cube holds."""
    left = [cube]
    for other in _meeting(cube, others, range(len(cube))):
        left = [piece for whole in left for piece in _without(whole, other)]
    return left


def _without(cube: Cube, other: Cube) -> Iterator[Cube]:
    if not all(side & cut for side, cut in zip(cube, other, strict=True)):
        yield cube
        return
    for axis, (side, cut) in enumerate(zip(cube, other, strict=True)):
        if rest := side & ~cut:
            yield (*cube[:axis], rest, *cube[axis + 1 :])
        cube = (*cube[:axis], side & cut, *cube[axis + 1 :])


def _meeting(cube: Cube, others: Iterable[Cube], axes: Iterable[int]) -> list[Cube]:
    """Those that have something in common with the cube on each of the axes."""
    found = list(others)
    for axis in axes:
        side = cube[axis]
        found = [other for other in found if other[axis] & side]
    return found


def _within(inner: Cube, outer: Cube) -> bool:
    return all(small & large == small for small, large in zip(inner, outer, strict=True))


def _union(cubes: Iterable[Cube], axis: int) -> int:
    return reduce(or_, (cube[axis] for cube in cubes), 0)
