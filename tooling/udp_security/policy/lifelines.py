# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The flows without which a cluster dies, and whether a policy leaves one out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from udp_security.policy import data
from udp_security.policy.model import Network, Rule, canonical, networks, resolve
from udp_security.policy.problem import Problem

_ANY = ("0.0.0.0/0", "::/0")


def cut_off(values: Mapping[str, Any], rules: Sequence[Rule]) -> Iterator[Problem]:
    """One problem for each lifeline that no rule covers and ``dangerouslyCutOff`` does not name."""
    for name, boxes in data.lifelines().items():
        if name in values["dangerouslyCutOff"]:
            continue
        uncovered = next(
            (
                (box, source, destination)
                for box in boxes
                for source, destination in _pairs(box, values["cluster"])
                if not any(_covers(rule, box, source, destination) for rule in rules)
            ),
            None,
        )
        if uncovered:
            box, source, destination = uncovered
            message = data.message(
                "lifeline",
                name,
                box["direction"],
                canonical(source),
                canonical(destination),
                box["port"],
                name,
                name,
            )
            yield Problem(("presets", name), message)


def _pairs(
    box: Mapping[str, Any], cluster: Mapping[str, list[str]]
) -> Iterator[tuple[Network, Network]]:
    sources, destinations = (
        networks(resolve(box.get(end) or _ANY, cluster)) for end in ("from", "to")
    )
    for source in sources:
        for destination in destinations:
            if source.version == destination.version:
                yield source, destination


def _covers(rule: Rule, box: Mapping[str, Any], source: Network, destination: Network) -> bool:
    return (
        rule.direction == box["direction"]
        and any(low <= box["port"] <= high for low, high in rule.ports)
        and _holds(rule.sources, source)
        and _holds(rule.destinations, destination)
    )


def _holds(outer: tuple[Network, ...] | None, inner: Network) -> bool:
    return outer is None or any(
        network.version == inner.version
        and network.prefixlen <= inner.prefixlen
        and inner.network_address in network
        for network in outer
    )
