# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Port segments: all ports, cut wherever a range ends, so that each has rules of its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from udp_security.policy.model import Rule


@dataclass(frozen=True)
class Segment:
    """Ports ``low`` to ``high`` and the rules that name them, never none."""

    low: int
    high: int
    rules: tuple[Rule, ...]


def segments(rules: Sequence[Rule]) -> list[Segment]:
    """The segments of rules of one direction, from low to high ports."""
    begin: dict[int, list[int]] = defaultdict(list)
    end: dict[int, list[int]] = defaultdict(list)
    for index, rule in enumerate(rules):
        for low, high in rule.ports:
            if high < low:
                continue  # reported by check
            begin[low].append(index)
            end[high + 1].append(index)
    # A rule's own ranges may overlap, so it stays open until the last one ends.
    open_: Counter[int] = Counter()
    bounds = sorted({*begin, *end})
    found = []
    for position, bound in enumerate(bounds):
        open_.subtract(end[bound])
        open_.update(begin[bound])
        open_ = +open_
        if open_:
            named = tuple(rules[index] for index in sorted(open_))
            found.append(Segment(bound, bounds[position + 1] - 1, named))
    return found
