# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What makes a policy wrong although the schema accepts it.

The chart's templates refuse the same, in the same words (files/policy/messages.yaml).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

from udp_security.policy import data
from udp_security.policy.lifelines import cut_off
from udp_security.policy.model import (
    DIRECTIONS,
    Network,
    Rule,
    address_text,
    all_rules,
    canonical,
    network,
    networks,
    port_range,
)
from udp_security.policy.problem import Problem
from udp_security.policy.segments import segments

Path = tuple[str | int, ...]
_MAPPED = ip_network("::ffff:0:0/96")


def check(values: Mapping[str, Any], *, whole: bool = True) -> list[Problem]:
    """All problems of merged values that the schema has accepted, in the order of the values.

    Without ``whole`` nothing is said about the policy as a whole (lifelines, how deeply its rules
    overlap), and of the values only rules, cluster and linux are read.
    """
    found: list[Problem] = []
    for key in ("podCIDRs", "serviceCIDRs", "nodeCIDRs", "dnsServers"):
        found += _addresses(values["cluster"][key], ("cluster", key), f"cluster.{key}")
    found += _rules(values)
    linux: bool = values["linux"]["enabled"]
    if linux:
        key = "untrackedReplyAddresses"
        found += _addresses(values["linux"].get(key) or [], ("linux", key), f"linux.{key}")
        found += _cache(int(values["linux"]["verdictCache"]["mask"]))
    if whole:
        rules = list(all_rules(values))
        if linux:
            found += _overlap([rule for rule in rules if "linux" in rule.os])
        found += cut_off(values, rules)
    return found


def _rules(values: Mapping[str, Any]) -> Iterator[Problem]:
    names = Counter(rule["name"] for rule in values["rules"])
    seen: set[str] = set()
    services = networks(values["cluster"]["serviceCIDRs"])
    for index, rule in enumerate(values["rules"]):
        path: Path = ("rules", index)
        name = rule["name"]
        if name in seen:
            yield Problem((*path, "name"), data.message("duplicateName", name, names[name]))
        seen.add(name)
        for number, port in enumerate(rule["ports"]):
            low, high = port_range(port)
            if high < low:
                message = data.message("portRange", name, port, f"{high}-{low}")
                yield Problem((*path, "ports", number), message)
        for end in ("from", "to"):
            yield from _addresses(rule.get(end) or [], (*path, end), f'rule "{name}": {end}')
        yield from _rule(rule, path, services if values["linux"]["enabled"] else ())


def _rule(rule: Mapping[str, Any], path: Path, services: Sequence[Network]) -> Iterator[Problem]:
    name = rule["name"]
    linux = "linux" in (rule.get("os") or ["linux"])
    if rule["direction"] == "forward" and not linux:
        yield Problem((*path, "direction"), data.message("forwardWindows", name))
    sources, destinations = (_families(rule.get(end)) for end in ("from", "to"))
    if not sources & destinations:
        named = (_family_names(rule.get(end)) for end in ("from", "to"))
        yield Problem((*path, "to"), data.message("noCommonFamily", name, *named))
    if linux:
        for number, text in enumerate(rule.get("to") or []):
            for service in services:
                if _within(network(text), service):
                    message = data.message("serviceDestination", name, text, canonical(service))
                    yield Problem((*path, "to", number), message)


def _addresses(texts: Sequence[str], path: Path, where: str) -> Iterator[Problem]:
    for index, text in enumerate(texts):
        named = network(text)
        host = ip_address(text.partition("/")[0])
        if isinstance(host, IPv6Address) and _within(named, _MAPPED):
            length = f"/{named.prefixlen - 96}" if named.prefixlen < 128 else ""
            message = data.message("mapped", where, text, f"{host.ipv4_mapped}{length}")
            yield Problem((*path, index), message)
        elif host != named.network_address:
            message = data.message("hostBits", where, text, canonical(named), address_text(host))
            yield Problem((*path, index), message)


def _cache(mask: int) -> Iterator[Problem]:
    run = mask // (mask & -mask)
    if run & (run + 1) or run.bit_length() < 4:
        message = data.message("cacheMask", f"0x{mask:08x}")
        yield Problem(("linux", "verdictCache", "mask"), message)


def _overlap(rules: Sequence[Rule]) -> Iterator[Problem]:
    limit = data.limit("overlapJumps")
    jumps = 0
    deepest, deepest_direction = None, ""
    for direction in DIRECTIONS:
        for segment in segments([rule for rule in rules if rule.direction == direction]):
            depth = len(segment.rules)
            jumps += depth if depth > 1 else 0
            if deepest is None or depth > len(deepest.rules):
                deepest, deepest_direction = segment, direction
    if jumps > limit and deepest:
        depth = len(deepest.rules)
        message = data.message("overlap", depth, deepest_direction, deepest.low, jumps, limit)
        yield Problem(("rules",), message)


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and (
        inner.network_address in outer and inner.prefixlen >= outer.prefixlen
    )


def _families(texts: Sequence[str] | None) -> set[int]:
    return {network.version for network in networks(texts)} if texts else {4, 6}


def _family_names(texts: Sequence[str] | None) -> str:
    if not texts:
        return "any"
    return " and ".join(f"IPv{family}" for family in sorted(_families(texts)))
