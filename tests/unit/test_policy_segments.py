# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Port segments, against asking each port alone."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from udp_security.policy import Rule
from udp_security.policy.segments import Segment, segments

LAST = 24
RANGES = st.tuples(st.integers(1, LAST), st.integers(1, LAST)).map(
    lambda ends: (min(ends), max(ends))
)
RULES = st.lists(st.lists(RANGES, min_size=1, max_size=4), max_size=6).map(
    lambda all_ranges: [
        Rule(f"r{index}", "ingress", tuple(ranges)) for index, ranges in enumerate(all_ranges)
    ]
)


def rule(name: str, *ports: tuple[int, int]) -> Rule:
    """A rule that names these ports."""
    return Rule(name, "ingress", ports)


@settings(deadline=None)
@given(RULES)
def test_each_port_has_its_rules_in_order(rules: list[Rule]) -> None:
    found = segments(rules)
    for port in range(LAST + 2):
        naming = [r for r in rules if any(low <= port <= high for low, high in r.ports)]
        holding = [list(segment.rules) for segment in found if segment.low <= port <= segment.high]
        assert holding == ([naming] if naming else [])


@settings(deadline=None)
@given(RULES)
def test_segments_ascend_and_never_touch_nothing(rules: list[Rule]) -> None:
    found = segments(rules)
    assert all(segment.low <= segment.high and segment.rules for segment in found)
    assert all(one.high < two.low for one, two in pairwise(found))


def test_a_known_cut() -> None:
    a, b = rule("a", (1, 10), (5, 20)), rule("b", (10, 12), (65535, 65535))
    assert segments([a, b]) == [
        Segment(1, 4, (a,)),
        Segment(5, 9, (a,)),
        Segment(10, 10, (a, b)),
        Segment(11, 12, (a, b)),
        Segment(13, 20, (a,)),
        Segment(65535, 65535, (b,)),
    ]


def test_neighbours_do_not_meet() -> None:
    a, b = rule("a", (1, 5)), rule("b", (6, 9))
    assert segments([a, b]) == [Segment(1, 5, (a,)), Segment(6, 9, (b,))]


def test_a_reversed_range_names_nothing() -> None:
    a = rule("a", (9, 5), (7, 7))
    assert segments([a]) == [Segment(7, 7, (a,))]
    assert segments([rule("b", (9, 5))]) == []
    assert segments([]) == []
