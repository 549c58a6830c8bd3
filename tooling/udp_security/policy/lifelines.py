# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The flows without which a cluster dies, and whether a policy leaves one out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from udp_security.policy import data
from udp_security.policy.model import (
    ALL_SYSTEMS,
    SYSTEMS,
    Network,
    OperatingSystem,
    Rule,
    canonical,
    networks,
    resolve,
)
from udp_security.policy.problem import Problem

_ANY = ("0.0.0.0/0", "::/0")


def cut_off(values: Mapping[str, Any], rules: Sequence[Rule]) -> Iterator[Problem]:
    """The lifelines that no rule covers and ``dangerouslyCutOff`` does not name.

    One problem for each: two where the governed systems' nodes are cut off from different things.
    """
    for name, boxes in data.lifelines().items():
        if name in values["dangerouslyCutOff"]:
            continue
        cuts: defaultdict[tuple[str, str, str, int], list[str]] = defaultdict(list)
        for os in SYSTEMS:
            if values[os]["enabled"] and (cut := _first_cut(boxes, os, values["cluster"], rules)):
                cuts[cut].append(os.capitalize())
        for cut, systems in cuts.items():
            message = data.message("lifeline", name, " and ".join(systems), *cut, name, name)
            yield Problem(("presets", name), message)


def _first_cut(
    boxes: Sequence[Mapping[str, Any]],
    os: OperatingSystem,
    cluster: Mapping[str, list[str]],
    rules: Sequence[Rule],
) -> tuple[str, str, str, int] | None:
    """Direction, source, destination and port of the first thing that no rule for `os` covers."""
    applying = [rule for rule in rules if os in rule.os]
    for box in boxes:
        if os in box.get("os", ALL_SYSTEMS):
            for source, destination in pairs(box, cluster):
                if not any(_covers(rule, box, source, destination) for rule in applying):
                    return box["direction"], canonical(source), canonical(destination), box["port"]
    return None


def pairs(
    box: Mapping[str, Any], cluster: Mapping[str, Sequence[str]]
) -> Iterator[tuple[Network, Network]]:
    """Each source and destination of a lifeline's box (``data.lifelines``) in one family."""
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
