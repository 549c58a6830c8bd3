# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Hypothesis strategies for values that are right, and flows at the edges of what they say.

The values of one example share a few networks and ports, so that rules overlap, nest and touch.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

import yaml
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from udp_security import policy
from udp_security.chart import chart_dir
from udp_security.policy.model import (
    DIRECTIONS,
    Address,
    Flow,
    Network,
    all_rules,
    canonical,
    networks,
)
from udp_security.values.merge import merge

FAMILIES: Final = (4, 6)
PRESETS: Final = ("dns", "dhcp", "ntp", "flannelVxlan", "windowsDomain", "vpn", "quic")
LIFELINES: Final = ("dns", "dhcp", "flannelVxlan")

# Where networks begin: ordinary ones, the edges of the address space, the cluster's own by default,
# and what special addresses (multicast, link-local, IPv4-mapped) lie in or beside.
_ANCHORS: Final = {
    4: ("10.0.0.0", "10.255.255.255", "192.0.2.77", "0.0.0.0", "128.0.0.0", "127.255.255.255",
        "255.255.255.255", "172.20.0.0", "172.19.1.100", "169.254.20.10", "224.0.0.251"),
    6: ("fd00::", "fd00::ffff:ffff:ffff:ffff", "2001:db8::1", "::", "8000::", "7fff:ffff::1",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::1", "ff02::1:2", "::fffe:ffff:ffff",
        "64:ff9b::a00:1", "1:0:0:2:0:0:0:3"),
}  # fmt: skip
_LENGTHS: Final = {
    4: (32, 31, 30, 24, 16, 8, 1, 0),
    6: (128, 127, 126, 64, 48, 8, 1, 0),
}
_PORTS: Final = (
    1,
    2,
    52,
    53,
    54,
    67,
    68,
    123,
    443,
    546,
    547,
    1023,
    1024,
    4789,
    8472,
    32768,
    65534,
    65535,
)
# Names that mean something to nftables, to YAML, to the templates or to the agent.
_NAMES: Final = (
    "a", "b", "g0", "g0-a", "r", "0", "00", "1", "0x10", "1e3", "true", "null", "no", "accept",
    "drop", "policy", "fwd", "input", "ingress", "denied", "mirror", "untracked", "ports", "preset",
    "preset-dns-egress", "cluster4", "from4", "to6", "x--y", "z" * 63, "-".join("q" * 32),
)  # fmt: skip
_DESCRIPTIONS: Final = (
    "", "plain", "}\n\tchain input { }", "# hooks: ", '"; flush ruleset #', "{{ fail }}", "\\ü\t",
)  # fmt: skip
_SYSTEMS: Final = (None, None, None, ["linux"], ["windows"], ["windows", "linux"])
_MAPPED: Final = ip_network("::ffff:0:0/96")
_FUZZ: Final = int(os.environ.get("UDP_SECURITY_FUZZ") or 0)


def examples(number: int) -> settings:
    """So many policies, the same ones each time; or as many new ones as UDP_SECURITY_FUZZ says."""
    return settings(
        max_examples=_FUZZ or number,
        derandomize=not _FUZZ,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def merged(values: Mapping[str, Any]) -> dict[str, Any]:
    """A user's values on top of the chart's, as the templates see them."""
    return merge(_defaults(), dict(values))


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    """A user's values that neither the schema nor a check refuses."""
    nets = draw(_networks())
    lists = st.lists(st.sampled_from(nets).flatmap(_texts), min_size=1, max_size=4)
    given: dict[str, Any] = {
        "mode": draw(st.sampled_from(["enforce", "enforce", "audit"])),
        "denyAction": draw(st.sampled_from(["drop", "reject"])),
        "presets": draw(st.dictionaries(st.sampled_from(PRESETS), st.booleans(), max_size=7)),
        "linux": {
            "scope": draw(st.sampled_from(["host", "cluster"])),
            "untrackedReplyAddresses": draw(st.lists(_addresses(nets), max_size=3)),
            "verdictCache": {
                "enabled": draw(st.sampled_from([True, True, False])),
                "mask": draw(st.sampled_from([0xFF000000, 0xF, 0x3C0, 2**32 - 1])),
            },
        },
        "windows": {"scope": draw(st.sampled_from(["cluster", "host"]))},
        "cluster": draw(st.dictionaries(st.sampled_from(["podCIDRs", "nodeCIDRs"]), lists)),
    }
    # Nearly everything lies in a wide service CIDR, and then no rule for Linux may name it.
    narrow = [net for net in nets if net.max_prefixlen - net.prefixlen <= 16]
    with_services: bool = draw(st.booleans())
    if narrow and with_services:
        given["cluster"]["serviceCIDRs"] = [draw(st.sampled_from(narrow).flatmap(_texts))]
    if draw(st.booleans()):
        given["cluster"]["dnsServers"] = draw(lists)
    services = networks(merged(given)["cluster"]["serviceCIDRs"])
    targets = [net for net in nets if not any(_within(net, service) for service in services)]
    least = draw(st.integers(0, 5))
    names = draw(st.lists(st.sampled_from(_NAMES), unique=True, min_size=least, max_size=7))
    ports = draw(st.lists(_ports(), min_size=1, max_size=5, unique=True))
    given["rules"] = [draw(_rules(name, nets, targets, ports)) for name in names]
    # What is left without rules has to be owned up to; naming more than that is allowed.
    cut = draw(st.sets(st.sampled_from(LIFELINES), max_size=2))
    cut |= {str(problem.path[1]) for problem in policy.check(merged(given))}
    given["dangerouslyCutOff"] = sorted(cut)
    assert policy.check(merged(given)) == [], "these strategies are to make right values only"
    return given


def flows(given: Mapping[str, Any], numbers: random.Random) -> Iterator[Flow]:
    """Endless flows near the edges of the values.

    Those are the first and last address of a network, the ports at the ends of a range, and what
    lies beside them; now and then it is anything.
    """
    full = merged(given)
    rules = list(all_rules(full))
    cluster, linux = full["cluster"], full["linux"]
    sides: list[Sequence[Network] | None] = [
        end for r in rules for end in (r.sources, r.destinations)
    ]
    mirrored = networks(linux["untrackedReplyAddresses"])
    everywhere = [net for side in sides for net in side or ()] + [*mirrored]
    everywhere += [net for texts in cluster.values() for net in networks(texts)]
    edges = sorted({port for rule in rules for ends in rule.ports for port in ends} | {1, 65535})

    def address(side: Sequence[Network] | None, version: int) -> Address:
        candidates = [net for net in side or everywhere if net.version == version]
        if not candidates or numbers.random() < 0.05:
            return _address(version, numbers.getrandbits(32 if version == 4 else 128))
        return _near(numbers.choice(candidates), numbers)

    while True:
        direction = numbers.choice(DIRECTIONS)
        sources, destinations, port = None, None, numbers.choice(edges)
        fitting = [rule for rule in rules if rule.direction == direction]
        if fitting and numbers.random() < 0.8:
            rule = numbers.choice(fitting)
            sources, destinations = rule.sources, rule.destinations
            low, high = numbers.choice(rule.ports)
            port = numbers.choice([low, high, numbers.randint(low, high)])
        if numbers.random() < 0.4:
            port += numbers.choice([-1, 1])
        if mirrored and direction == "ingress" and numbers.random() < 0.3:
            destinations = mirrored
        if numbers.random() < 0.1:
            direction = numbers.choice(DIRECTIONS)
        versions = set(FAMILIES)
        for side in (sources, destinations):
            versions = (versions & _versions(side) if side else versions) or versions
        version = numbers.choice(sorted(versions))
        if 1 <= port <= 65535:
            yield Flow(direction, address(sources, version), address(destinations, version), port)


@st.composite
def _networks(draw: st.DrawFn) -> list[Network]:
    found: list[Network] = []
    for family in FAMILIES:
        anchors = draw(st.lists(_anchors(family), min_size=1, max_size=3))
        lengths = st.sampled_from(_LENGTHS[family]) | st.integers(0, 32 if family == 4 else 128)
        for anchor, length in draw(
            st.lists(st.tuples(st.sampled_from(anchors), lengths), min_size=1, max_size=5)
        ):
            net = ip_network(f"{anchor}/{length}", strict=False)
            if not _within(net, _MAPPED):
                found.append(net)
    return found or [ip_network("::/0")]


def _anchors(family: int) -> st.SearchStrategy[Address]:
    special = st.sampled_from(_ANCHORS[family]).map(ip_address)
    return special | st.ip_addresses(v=4 if family == 4 else 6)


@st.composite
def _rules(
    draw: st.DrawFn,
    name: str,
    nets: Sequence[Network],
    targets: Sequence[Network],
    ports: Sequence[int],
) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "name": name,
        "direction": draw(st.sampled_from(DIRECTIONS)),
        "ports": draw(st.lists(_port_items(ports), min_size=1, max_size=3)),
    }
    systems = draw(st.sampled_from(_SYSTEMS))
    if systems is not None and (rule["direction"], systems) != ("forward", ["windows"]):
        rule["os"] = systems
    if draw(st.booleans()):
        rule["description"] = draw(st.sampled_from(_DESCRIPTIONS))
    # Windows' firewall sees services.
    for end, pool in (("from", nets), ("to", nets if rule.get("os") == ["windows"] else targets)):
        given: bool = draw(st.booleans())
        if pool and given:
            rule[end] = draw(
                st.lists(st.sampled_from(pool).flatmap(_texts), min_size=1, max_size=4)
            )
    if "from" in rule and "to" in rule:
        common = _versions(networks(rule["from"])) & _versions(networks(rule["to"]))
        if not common:
            del rule["to"]
    return rule


def _ports() -> st.SearchStrategy[int]:
    return st.sampled_from(_PORTS) | st.integers(1, 65535)


def _port_items(ports: Sequence[int]) -> st.SearchStrategy[int | str]:
    port = st.sampled_from(ports)
    ends = st.tuples(port, port).map(sorted)
    return st.one_of(
        port,
        port.map(str),
        ends.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        port.map(lambda low: f"{low}-{min(low + 1, 65535)}"),
        st.just("1-65535"),
    )


def _texts(net: Network) -> st.SearchStrategy[str]:
    """The ways to write a network."""
    single = net.prefixlen == net.max_prefixlen
    ways = [canonical(net)]
    if single:
        ways.append(f"{canonical(net)}/{net.max_prefixlen}")
    if net.version == 6:
        host = net.network_address.exploded
        ways += [canonical(net).upper(), host if single else f"{host}/{net.prefixlen}"]
    return st.sampled_from(ways)


def _addresses(nets: Sequence[Network]) -> st.SearchStrategy[str]:
    """Single addresses at the edges of the networks."""
    edges = {edge for net in nets for edge in (net[0], net[-1])}
    singles = [ip_network(edge) for edge in sorted(edges, key=lambda edge: (edge.version, edge))]
    allowed = [canonical(single) for single in singles if not _within(single, _MAPPED)]
    return st.sampled_from(allowed) if allowed else st.just("10.0.0.1")


def _near(net: Network, numbers: random.Random) -> Address:
    first, last = int(net[0]), int(net[-1])
    inside = numbers.randint(first, last)
    place = numbers.choice(
        [first, first, last, last, inside, first + 1, last - 1, first - 1, last + 1]
    )
    return _address(net.version, max(0, min(place, (1 << net.max_prefixlen) - 1)))


def _address(version: int, number: int) -> Address:
    return IPv4Address(number) if version == 4 else IPv6Address(number)


def _versions(nets: Sequence[Network]) -> set[int]:
    return {net.version for net in nets}


def _within(inner: Network, outer: Network) -> bool:
    return (
        inner.version == outer.version
        and inner.prefixlen >= outer.prefixlen
        and inner.network_address in outer
    )


@cache
def _defaults() -> dict[str, Any]:
    text = (chart_dir() / "values.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.load(text, yaml.CSafeLoader)
    return loaded
