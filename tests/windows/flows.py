# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The flows with which tests compare what firewalls do, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import chain, pairwise, product
from typing import Any, Final, Literal

from tests.windows.windows import Record, as_rule

from udp_security.policy.model import Address, Flow, Network, networks
from udp_security.policy.oracle import contains
from udp_security.windows.firewall import PROFILES, Firewall, Profile

# What no flow to or from a host has as its end.
_NOWHERE: Final = networks(["127.0.0.0/8", "::1", "::"])
# Windows' own settings, and a computer that its administrator opened.
_COMPUTERS: Final = {
    "inbound Block": PROFILES,
    "inbound Allow": (Profile("Public", default_inbound="Allow"),),
}
_WIDTHS: Final[Sequence[tuple[type[Address], int]]] = ((IPv4Address, 32), (IPv6Address, 128))
_SIDES: Final[Mapping[Literal["ingress", "egress"], tuple[str, str]]] = {
    "ingress": ("from", "to"),
    "egress": ("to", "from"),
}


def edges(*policies: Mapping[str, Any]) -> list[Flow]:
    """One flow of each set of flows that no rule of these policies (as policy.json) tells apart.

    What holds for these holds for all flows, as long as the firewall's rules are cut nowhere else:
    each is the first of its ports and its addresses, so the one beside it belongs to another set.
    """
    found = []
    for direction, (remote_key, local_key) in _SIDES.items():
        rules = [
            rule
            for policy in policies
            for rule in policy["rules"]
            if rule["direction"] == direction
        ]
        ports = {1}
        for text in chain.from_iterable(rule["ports"] for rule in rules):
            low, high = text.split("-")
            ports |= {int(low), int(high) + 1}
        remote_nets = [*_nets(rules, remote_key), *_nets(policies, "clusterCIDRs")]
        for family in _WIDTHS:
            remotes = _addresses(remote_nets, *family)
            locals_ = _addresses(_nets(rules, local_key), *family)
            for remote, local, port in product(remotes, locals_, sorted(ports - {65536})):
                ends = (remote, local) if direction == "ingress" else (local, remote)
                found.append(Flow(direction, *ends, port))
    return found


def admitted(firewall: Firewall, flows: Iterable[Flow]) -> frozenset[Flow]:
    """Those of the flows that pass; none of them is of direction forward."""
    passing = set()
    for flow in flows:
        assert flow.direction != "forward"
        if firewall.admits(flow.direction, flow.source, flow.destination, flow.port).allowed:
            passing.add(flow)
    return frozenset(passing)


def wavering(states: Sequence[Iterable[Record]], flows: Sequence[Flow]) -> list[str]:
    """Where a flow's verdict changed though it is to be the same after all the states as before,
    or changed back: what was denied before and is after was so all the time, and what was allowed
    likewise. Judged with the default for inbound flows that Windows has, and with the other one.
    """
    found = []
    for computer, profiles in _COMPUTERS.items():
        passing = [admitted(Firewall(map(as_rule, state), profiles), flows) for state in states]
        opening, closing = passing[-1] - passing[0], passing[0] - passing[-1]
        for number, (earlier, later) in enumerate(pairwise(passing), start=1):
            wrong = {"opened": later - earlier - opening, "closed": earlier - later - closing}
            found += [
                f"change {number} {word} {flow} ({computer})"
                for word, changed in wrong.items()
                for flow in changed
            ]
    return found


def _nets(given: Iterable[Mapping[str, Any]], key: str) -> list[Network]:
    return [ip_network(text) for one in given for text in one[key] or ()]


def _addresses(nets: Iterable[Network], kind: type[Address], width: int) -> list[Address]:
    """The first address of each part into which these networks cut a family."""
    places = {2, 128 << 24}  # behind :: and ::1, and behind IPv4's loopback
    for net in nets:
        if net.max_prefixlen == width:
            first = int(net.network_address)
            places |= {first, first + net.num_addresses}
    addresses = [kind(place) for place in sorted(places) if place < 1 << width]
    return [address for address in addresses if not contains(_NOWHERE, address)]
