# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The algebra of cubes, against sets of points."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import examples

from udp_security.policy import cubes
from udp_security.policy.cubes import Cube, cover, parts, subtract
from udp_security.policy.intervals import Axis, bits, complement, intervals, union

# Bits a side.
SHAPE = (4, 4, 3, 2)
CUBES = st.lists(st.tuples(*(st.integers(1, (1 << width) - 1) for width in SHAPE)), max_size=6)
NUMBERS = st.sets(st.integers(0, 15))


def points(some: Iterable[Cube]) -> set[tuple[int, ...]]:
    """All that the cubes hold."""
    return {point for cube in some for point in product(*map(bits, cube))}


def least(_: int, __: int, needed: int) -> int:
    """Nothing that is not needed."""
    return needed


def could_be_one(one: Cube, other: Cube) -> bool:
    """Whether both together are a cube."""
    return sum(a != b for a, b in zip(one, other, strict=True)) <= 1


@given(CUBES, CUBES)
@examples(150)
def test_subtract(inside: list[Cube], outside: list[Cube]) -> None:
    found = subtract(inside, outside)
    wanted = points(inside) - points(outside)
    assert points(found) == wanted
    assert sum(len(points([cube])) for cube in found) == len(wanted), "they overlap"
    assert not any(could_be_one(*pair) for pair in combinations(found, 2))
    # Whatever it is made of.
    again = [tuple(1 << bit for bit in point) for point in sorted(wanted)]
    assert subtract(again, []) == found


@pytest.mark.parametrize("many", [False, True])
@given(st.data(), st.booleans())
@examples(150)
def test_cover(many: bool, data: st.DataObject, short: bool) -> None:
    given_ = subtract(data.draw(CUBES), data.draw(CUBES))
    ignorable = data.draw(CUBES.map(lambda some: some[:1]))
    with pytest.MonkeyPatch.context() as patch:
        if many:
            patch.setattr(cubes, "_MANY", 0)
        found = cover(given_, ignorable, least if short else lambda _, side, __: side)
    wanted, free = points(given_), points(ignorable)
    assert points(found) - free == wanted - free
    for cube in found:
        others = points(other for other in found if other is not cube)
        assert points([cube]) - others - free, f"{cube} is needless"
    assert not any(could_be_one(*pair) for pair in combinations(found, 2))


def test_two_that_overlap_stay_two() -> None:
    """Taken apart, they are three."""
    first, second = (0b011, 0b011), (0b110, 0b110)
    taken_apart = subtract([first, second], [])
    assert len(taken_apart) == 3
    assert sorted(cover(taken_apart, [], least)) == [first, second]


def test_what_may_be_ignored_is_used_where_it_helps() -> None:
    apart = [(0b01, 0b11), (0b10, 0b01)]
    assert cover(apart, [(0b10, 0b10)], least) == [(0b11, 0b11)]
    assert cover(apart, [(0b11, 0b11)], least) == []


@given(st.lists(st.integers(0, 255), max_size=6))
@examples(100)
def test_parts(sides: list[int]) -> None:
    found = parts(sides)
    together = 0
    for part in found:
        assert part and not part & together
        together |= part
        assert all(part & side in (0, part) for side in sides)
    assert sum(1 for _ in bits(together)) == len({bit for side in sides for bit in bits(side)})
    # No finer than they must be: each two are told apart by a side.
    for one, other in combinations(found, 2):
        assert any(bool(side & one) != bool(side & other) for side in sides)


@given(st.lists(NUMBERS, min_size=1, max_size=5))
@examples(100)
def test_axis(sets: list[set[int]]) -> None:
    bounds = [tuple(union((number, number) for number in set_)) for set_ in sets]
    axis = Axis(bounds)
    for one, set_ in zip(bounds, sets, strict=True):
        assert axis.bounds(axis.side(one)) == one
        assert {n for low, high in intervals(one) for n in range(low, high + 1)} == set_
        rest = complement(one, 0, 16)
        assert {n for low, high in intervals(rest) for n in range(low, high + 1)} == {
            *range(16)
        } - set_
    signatures = {tuple(number in set_ for set_ in sets) for number in range(16)}
    used = 0
    for one in bounds:
        used |= axis.side(one)
    assert used.bit_count() == len(signatures - {(False,) * len(sets)})


def test_a_side_gets_shorter() -> None:
    """Intervals go as a whole: a part of one is no shorter."""
    line = Axis([(1, 5), (2, 3), (7, 9), (20, 30), (2, 3, 22, 24), (1, 5, 7, 9, 20, 30)])
    whole = line.side((1, 5, 7, 9, 20, 30))

    def shortened(*needed: int) -> tuple[int, ...]:
        return line.bounds(line.shorten(whole, line.side(needed)))

    assert shortened(2, 3) == (1, 5)
    assert shortened(2, 3, 22, 24) == (1, 5, 20, 30)
    assert shortened(1, 5, 7, 9, 20, 30) == (1, 5, 7, 9, 20, 30)
