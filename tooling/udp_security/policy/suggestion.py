# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Rules for what was denied: a proposal, which somebody has to judge."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from udp_security.policy import data
from udp_security.policy.containment import FlowIndex
from udp_security.policy.denied import DeniedFlow
from udp_security.policy.eligibility import LeftOut, divided
from udp_security.policy.ground import Ground
from udp_security.policy.merging import Block, Widening, blocks, distinct, port_ranges, widened
from udp_security.policy.model import (
    DIRECTIONS,
    SYSTEMS,
    Address,
    Direction,
    Flow,
    Network,
    OperatingSystem,
    Rule,
    canonical,
)
from udp_security.policy.oracle import allows, contains
from udp_security.policy.reasons import Names, description, preset_reasons, rule_name, rule_reasons

_EXACT: Final[Mapping[int, int]] = {4: 32, 6: 128}


@dataclass(frozen=True)
class SuggestedRule:
    """A rule as in the values, the denied flows that it is for, and why, line by line."""

    rule: Mapping[str, Any]
    flows: tuple[DeniedFlow, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class SuggestedPreset:
    """A preset to switch on, the denied flows that it is for, and why, line by line."""

    preset: str
    flows: tuple[DeniedFlow, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Suggestion:
    """What to add, what was left out, and how many flows are allowed already.

    `added` is what the rules and presets mean, for `Ground.added`.
    """

    rules: tuple[SuggestedRule, ...] = ()
    presets: tuple[SuggestedPreset, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    allowed: int = 0
    added: tuple[Rule, ...] = field(default=(), repr=False)


def suggest(
    flows: Iterable[DeniedFlow],
    ground: Ground,
    min_packets: int = 10,
    prefixes: Mapping[int, int] = _EXACT,
) -> Suggestion:
    """Rules for denied flows, the same whatever the flows' order.

    A rule names both ends. With the `prefixes` (lengths, by family) left at single addresses the
    rules allow the flows that are not left out, and nothing else; with shorter ones they name
    networks up to that width, where several addresses of such a network were seen. A pod stands for
    the cluster's pod network then, if that is not wider. A lifeline's preset is switched on whole,
    for any of its flows. Others, which allow any address, are only named in the reasons.
    """
    known = list(flows)
    denied = sorted((flow for flow in known if not ground.allows(flow.os, _flow(flow))), key=_order)
    widening = Widening(prefixes, dict(_pod_networks(denied, ground, prefixes)))
    eligible, left_out = divided(denied, ground, min_packets, widening)
    presets = tuple(_presets(eligible, ground))
    covered = {flow for preset in presets for flow in preset.flows}
    rest = [flow for flow in eligible if flow not in covered]
    names, index = Names(ground.names), FlowIndex(rest)
    seen = Counter(flow.source for flow in known)
    lone = {source for source, number in seen.items() if number == 1}
    rules = tuple(
        _rule(direction, systems, group, index, names, widening, lone, ground.off)
        for direction, systems, group in _groups(rest, widening)
    )
    added = [rule for preset in presets for rule in ground.off[preset.preset]]
    added += [Rule.from_values(suggested.rule) for suggested in rules]
    return Suggestion(rules, presets, tuple(left_out), len(known) - len(denied), tuple(added))


def _flow(flow: DeniedFlow) -> Flow:
    return Flow(flow.direction, flow.source, flow.destination, flow.port)


def _order(flow: DeniedFlow) -> tuple[Any, ...]:
    ends = flow.source.version, int(flow.source), int(flow.destination)
    return DIRECTIONS.index(flow.direction), flow.port, ends, flow.os


def _pod_networks(
    flows: Iterable[DeniedFlow], ground: Ground, prefixes: Mapping[int, int]
) -> Iterator[tuple[Address, Network]]:
    """What stands for pods' addresses, where it may."""
    for flow in flows:
        for address, name in (
            (flow.source, flow.source_name),
            (flow.destination, flow.destination_name),
        ):
            if name and name.startswith("pod "):
                for net in ground.pods:
                    if contains([net], address) and net.prefixlen >= prefixes[net.version]:
                        yield address, net


def _presets(flows: Sequence[DeniedFlow], ground: Ground) -> Iterator[SuggestedPreset]:
    lifelines = data.lifelines()
    for preset, rules in ground.off.items():
        fitting = tuple(flow for flow in flows if _allowed(rules, flow))
        if fitting and preset in lifelines:
            yield SuggestedPreset(preset, fitting, preset_reasons(fitting, rules))


def _allowed(rules: Iterable[Rule], flow: DeniedFlow) -> bool:
    return any(flow.os in rule.os and allows(rule, _flow(flow)) for rule in rules)


def _groups(
    flows: Iterable[DeniedFlow], widening: Widening
) -> list[tuple[Direction, frozenset[OperatingSystem], tuple[Block, ...]]]:
    """What is one rule each: one block, or one of each address family."""
    systems: defaultdict[tuple[Direction, Address, Address, int], set[OperatingSystem]]
    systems = defaultdict(set)
    for flow in flows:
        systems[flow.direction, flow.source, flow.destination, flow.port].add(flow.os)
    parts: defaultdict[
        tuple[Direction, frozenset[OperatingSystem], int], list[tuple[Address, Address, int]]
    ] = defaultdict(list)
    for (direction, source, destination, port), seen in systems.items():
        key = direction, frozenset(seen), source.version
        parts[key].append((source, destination, port))
    alike: defaultdict[
        tuple[Direction, frozenset[OperatingSystem], frozenset[int]], dict[int, list[Block]]
    ] = defaultdict(lambda: {4: [], 6: []})
    for (direction, seen_on, family), ends in parts.items():
        for block in blocks(widened(ends, widening)):
            alike[direction, seen_on, block.ports][family].append(block)
    found: list[tuple[Direction, frozenset[OperatingSystem], tuple[Block, ...]]] = []
    for (direction, seen_on, _), families in alike.items():
        # Of several, nobody could say which two are the same service.
        if len(families[4]) == len(families[6]) == 1:
            found.append((direction, seen_on, (*families[4], *families[6])))
        else:
            found += [(direction, seen_on, (block,)) for block in families[4] + families[6]]
    return sorted(found, key=lambda group: _group_order(*group))


def _group_order(
    direction: Direction, systems: frozenset[OperatingSystem], group: Sequence[Block]
) -> tuple[Any, ...]:
    ends = [[_texts(block.sources), _texts(block.destinations)] for block in group]
    return DIRECTIONS.index(direction), sorted(group[0].ports), ends, sorted(systems)


def _rule(
    direction: Direction,
    systems: frozenset[OperatingSystem],
    group: Sequence[Block],
    flows: FlowIndex,
    names: Names,
    widening: Widening,
    lone: Collection[Address],
    off: Mapping[str, Sequence[Rule]],
) -> SuggestedRule:
    ports = port_ranges(group[0].ports)
    sources = [net for block in group for net in _sorted(distinct(block.sources))]
    destinations = [net for block in group for net in _sorted(distinct(block.destinations))]
    own = tuple(
        flow
        for flow in flows.between(direction, sources, destinations, group[0].ports)
        if flow.os in systems
    )
    name = rule_name(direction, ports, own, sources, destinations, names)
    rule = {
        "name": name,
        "description": description(own),
        "direction": direction,
        "ports": [low if low == high else f"{low}-{high}" for low, high in ports],
        "from": [canonical(net) for net in sources],
        "to": [canonical(net) for net in destinations],
        "os": [os for os in SYSTEMS if os in systems],
    }
    presets = {
        preset: rules for preset, rules in off.items() if any(_allowed(rules, flow) for flow in own)
    }
    reasons = rule_reasons(own, sources, destinations, widening, lone, presets)
    return SuggestedRule(rule, own, reasons)


def _sorted(nets: Iterable[Network]) -> list[Network]:
    return sorted(nets, key=lambda net: (net.version, int(net.network_address), net.prefixlen))


def _texts(nets: Iterable[Network]) -> list[tuple[int, int, int]]:
    return [(net.version, int(net.network_address), net.prefixlen) for net in _sorted(nets)]
