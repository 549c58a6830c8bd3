# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Which rules nearly allow a flow, and what each lacks."""

from collections.abc import Sequence
from dataclasses import dataclass

from udp_security.policy import Flow, Rule
from udp_security.policy.oracle import contains

_SHOWN = 5


@dataclass(frozen=True)
class NearMiss:
    """A rule that does not allow the flow, and every reason why."""

    rule: Rule
    why: tuple[str, ...]


def nearest(rules: Sequence[Rule], flow: Flow, count: int = 3) -> list[NearMiss]:
    """The `count` rules that lack least, nearest first, of those for the flow's address family.

    Fewer reasons are nearer. Among equals a rule for other addresses is nearer than one for the
    other direction, and that nearer than one for another port, by the distance of the ports.
    """
    ranked = []
    for index, rule in enumerate(rules):
        why = _reasons(rule, flow)
        if why and _has_family(rule, flow.source.version):
            weight = (
                len(why),
                _port_distance(rule, flow.port),
                rule.direction != flow.direction,
                index,
            )
            ranked.append((weight, NearMiss(rule, why)))
    ranked.sort(key=lambda entry: entry[0])
    return [miss for _, miss in ranked[:count]]


def _reasons(rule: Rule, flow: Flow) -> tuple[str, ...]:
    reasons = []
    if rule.direction != flow.direction:
        reasons.append(f"direction is {rule.direction}, not {flow.direction}")
    if _port_distance(rule, flow.port):
        ports = [str(low) if low == high else f"{low}-{high}" for low, high in rule.ports]
        reasons.append(f"port {flow.port} is not in {_listed(ports)}")
    if rule.sources is not None and not contains(rule.sources, flow.source):
        reasons.append(f"source {flow.source} is not in {_listed(rule.sources)}")
    if rule.destinations is not None and not contains(rule.destinations, flow.destination):
        reasons.append(f"destination {flow.destination} is not in {_listed(rule.destinations)}")
    return tuple(reasons)


def _has_family(rule: Rule, version: int) -> bool:
    return all(
        end is None or any(network.version == version for network in end)
        for end in (rule.sources, rule.destinations)
    )


def _port_distance(rule: Rule, port: int) -> int:
    return min(max(low - port, port - high, 0) for low, high in rule.ports)


def _listed(items: Sequence[object]) -> str:
    """The first few items, and how many more there are."""
    shown = ", ".join(map(str, items[:_SHOWN]))
    more = len(items) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
