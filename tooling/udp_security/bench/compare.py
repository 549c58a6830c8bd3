# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Paired, interleaved comparison: all variants within a fraction of a second, many times over.

A machine's speed drifts, more than what is measured here. What two variants cost is therefore only
compared within a round, in which each had its turn; the rounds' ratios give a median and a spread.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from udp_security.bench.source import Source
from udp_security.bench.track import Route, Track
from udp_security.bench.variants import Variant
from udp_security.lab.errors import LabError


@dataclass(frozen=True)
class Cost:
    """A variant's ns per packet, the rounds' median, and its ratio to the first variant: the
    median and the quartiles of the rounds' ratios. ``extra`` is the median difference in ns."""

    variant: str
    ns: float
    ratio: float
    low: float
    high: float
    extra: float


def costs(names: Sequence[str], rounds: Sequence[Sequence[float]]) -> list[Cost]:
    """What the rounds say; each holds the variants' ns per packet in the names' order."""
    found = []
    for i, name in enumerate(names):
        ratios = [measured[i] / measured[0] for measured in rounds]
        low, middle, high = quartiles(ratios)
        found.append(
            Cost(
                name,
                statistics.median(measured[i] for measured in rounds),
                middle,
                low,
                high,
                statistics.median(measured[i] - measured[0] for measured in rounds),
            )
        )
    return found


def quartiles(numbers: Sequence[float]) -> tuple[float, float, float]:
    """The three quartiles; of one number, that number."""
    if len(numbers) < 2:
        return numbers[0], numbers[0], numbers[0]
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low, middle, high


def compare(
    track: Track,
    route: Route,
    source: Source,
    variants: Sequence[Variant],
    *,
    rounds: int,
    seconds: float,
    denied: bool = False,
    progress: Callable[[], None] = lambda: None,
) -> list[Cost]:
    """Measure loaded variants against the first of them. ``seconds`` is one turn's length;
    ``progress`` is called after every round. LabError when a variant denies the flow, unless it
    is meant to be ``denied``."""
    for variant in variants if not denied else ():
        _check(track, route, source, variant)
    measured = []
    for number in range(rounds):
        turns: dict[int, float] = {}
        # Who is first in a round is not always the same: nobody profits from a drift.
        for turn in range(len(variants)):
            i = (turn + number) % len(variants)
            variants[i].switch(track, True)
            # The flow's first packet under the rules, and cold caches.
            source.burst(seconds / 10)
            turns[i] = source.burst(seconds).cost
            variants[i].switch(track, False)
        measured.append([turns[i] for i in range(len(variants))])
        progress()
    return costs([variant.name for variant in variants], measured)


def _check(track: Track, route: Route, source: Source, variant: Variant) -> None:
    """What denies packets early looks cheap."""
    track.ns("node").flush_conntrack()
    variant.switch(track, True)
    before = track.arrived(route)
    sent = source.burst(0.001).packets
    arrived = track.arrived(route) - before
    variant.switch(track, False)
    if arrived != sent:
        raise LabError(f"{variant.name}, {route.name}: {arrived} of {sent} packets arrived")
