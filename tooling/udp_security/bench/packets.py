# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What an allowed packet costs: every variant, by size of the policy and by route."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from udp_security.bench import policies, variants
from udp_security.bench.compare import compare
from udp_security.bench.results import Fact, PacketCost, Results
from udp_security.bench.steps import Steps
from udp_security.bench.track import FORWARD, INPUT, Route, Track
from udp_security.bench.variants import Variant
from udp_security.lab.errors import LabError

AGAIN: Final = "bare again"
CACHED: Final = "ours"
UNGUARDED: Final = "ours without antiSpoofing"
UNCACHED: Final = "ours without verdictCache"
IPTABLES: Final = "ours in iptables"

_SECONDS: Final = 0.04  # of one turn: long against the switch, short against a machine's moods
# The reference's chain stands behind flannel's, which accepts pods' packets: none gets there.
_REFERENCE_ROUTES: Final = (INPUT, FORWARD)


def measure(
    results: Results,
    steps: Steps,
    *,
    rounds: int,
    routes: Sequence[Route],
    sizes: Sequence[int],
    distinct: int,
) -> None:
    """Policies of these sizes, and one of so many distinct overlapping rules, on the routes."""
    for count in sizes:
        values = policies.entries(count)
        _policy(results, steps, _entries(count), count, values, rounds, routes)
    values = policies.distinct(distinct)
    _policy(results, steps, _distinct(distinct), None, values, rounds, routes)
    results.facts += _targets(results.costs)


def _entries(count: int) -> str:
    return f"{count:,} entries"


def _distinct(count: int) -> str:
    return f"{count:,} distinct rules"


def _policy(
    results: Results,
    steps: Steps,
    name: str,
    count: int | None,
    values: Mapping[str, Any],
    rounds: int,
    routes: Sequence[Route],
) -> None:
    with steps.step(f"{name}: render"):
        compared = _variants(results, name, values)
        reference = [] if count is None else [variants.reference(count)]
    with contextlib.ExitStack() as stack:
        present = []
        with steps.step(f"{name}: load"):
            track = stack.enter_context(Track())
            for variant in [*compared, *reference]:
                try:
                    stack.enter_context(variants.loaded(track, [variant]))
                    present.append(variant)
                except LabError as error:
                    # In a plain user's namespace nft cannot send the kernel much at once.
                    results.notes.append(_unmeasured(variant.name, name, error))
        for route in routes:
            turns = [
                variant
                for variant in present
                if variant not in reference or route in _REFERENCE_ROUTES
            ]
            title = f"{name}: {route.name}"
            with steps.step(title, rounds) as advance, track.source(route) as flow:
                found = compare(
                    track, route, flow, turns, rounds=rounds, seconds=_SECONDS, progress=advance
                )
            results.costs += [PacketCost(route.name, name, count, cost) for cost in found]


def _variants(results: Results, policy: str, values: Mapping[str, Any]) -> list[Variant]:
    found: list[Variant] = [
        variants.Bare(),
        variants.Bare(AGAIN),
        variants.empty_hooks(),
        variants.nftables(CACHED, values),
        variants.nftables(UNGUARDED, policies.with_linux(values, antiSpoofing=False)),
        variants.nftables(
            UNCACHED,
            policies.with_linux(values, verdictCache={"enabled": False}, antiSpoofing=False),
        ),
    ]
    try:
        found.append(variants.iptables(IPTABLES, values))
    except LabError as error:
        results.notes.append(_unmeasured(IPTABLES, policy, error))
    return found


def _unmeasured(variant: str, policy: str, error: LabError) -> str:
    return f"{variant} is not measured with {policy}: {error.message.splitlines()[0]}"


def _targets(costs: Sequence[PacketCost]) -> list[Fact]:
    """The promises about packets, each on the route where it is broken worst."""
    facts = []
    for policy, most in ((_entries(10000), 1.01), (_distinct(1000), 1.02)):
        of_policy = [one for one in costs if one.policy == policy]
        for variant in (CACHED, UNGUARDED):
            ours = [one for one in of_policy if one.cost.variant == variant]
            if ours:
                worst = max(ours, key=lambda one: one.cost.ratio)
                spread = ", ".join(f"{one.route} {one.cost.ratio:.3f}" for one in ours)
                facts.append(
                    Fact(f"{variant}, {policy}", worst.cost.ratio, "x bare", spread, most=most)
                )
    pairs = [
        (one, other)
        for one in costs
        for other in costs
        if one.cost.variant == CACHED
        and other.cost.variant == variants.REFERENCE
        and (one.route, one.entries) == (other.route, other.entries)
        and one.entries == 1000
    ]
    for what, ratios in (
        ("adds", {a.route: b.cost.extra / max(a.cost.extra, 1.0) for a, b in pairs}),
        ("costs in all", {a.route: b.cost.ns / a.cost.ns for a, b in pairs}),
    ):
        if ratios:
            name = f"what the reference {what} with 1,000 rules, against ours"
            spread = ", ".join(f"{route} {ratio:.1f}" for route, ratio in ratios.items())
            facts.append(Fact(name, min(ratios.values()), "x", spread, least=10))
    return facts
