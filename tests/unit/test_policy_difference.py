# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The difference of policies, against the oracle and against what a reader expects."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import chain, islice, product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import examples, flows, merged, values

from udp_security.policy import Cluster, Flow, Policy, Rule, decide
from udp_security.policy.boxes import Box, Policies
from udp_security.policy.difference import Difference, difference
from udp_security.policy.model import (
    DIRECTIONS,
    SYSTEMS,
    Network,
    OperatingSystem,
    canonical,
    networks,
)
from udp_security.policy.oracle import contains, is_loopback

# For each family: networks, and an address of each part that they cut all addresses into.
NETWORKS = {
    4: networks(
        ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.0/31", "10.0.0.2/31",
         "10.0.0.0/30", "0.0.0.0/0", "127.0.0.0/8"]
    ),
    6: networks(
        ["fd00::", "fd00::1", "fd00::2", "fd00::3", "fd00::/127", "fd00::2/127",
         "fd00::/126", "::/0", "::1"]
    ),
}  # fmt: skip
ADDRESSES = {
    family: [net.network_address for net in (*nets[:4], nets[-1], network)]
    for (family, nets), network in zip(
        NETWORKS.items(), networks(["192.0.2.1", "2001:db8::1"]), strict=True
    )
}
PORTS = (1, 2, 3, 4, 65535)


@st.composite
def small_policies(draw: st.DrawFn, family: int) -> dict[OperatingSystem, Policy]:
    """Policies that name nothing but NETWORKS and PORTS."""
    lists = st.lists(st.sampled_from(NETWORKS[family]), min_size=1, max_size=3).map(tuple)
    rules = st.builds(
        Rule,
        name=st.just("r"),
        direction=st.sampled_from(DIRECTIONS),
        ports=st.lists(
            st.tuples(st.sampled_from(PORTS[:4]), st.sampled_from(PORTS)).map(
                lambda ends: (min(ends), max(ends))
            ),
            min_size=1,
            max_size=2,
        ).map(tuple),
        sources=st.none() | lists,
        destinations=st.none() | lists,
    )
    shared = draw(st.lists(rules, max_size=3))
    policies = st.builds(
        Policy,
        mode=st.just("enforce"),
        deny_action=st.just("drop"),
        scope=st.sampled_from(["host", "cluster"]),
        cluster=st.builds(Cluster, pods=lists, services=st.just(()), nodes=st.just(())),
        rules=st.lists(rules, max_size=3).map(lambda own: (*shared, *own)),
    )
    return {os: draw(policies) for os in SYSTEMS if draw(st.integers(0, 9))}


def holds(box: Box, os: OperatingSystem, flow: Flow) -> bool:
    """Whether a flow on a system's node is one of the box's."""
    return (
        os in box.systems
        and box.direction == flow.direction
        and any(low <= flow.port <= high for low, high in box.ports)
        and contains(box.sources, flow.source)
        and contains(box.destinations, flow.destination)
    )


def allowed(policies: Policies, os: OperatingSystem, flow: Flow) -> bool:
    """The oracle's word, and nobody's where there is no agent."""
    policy = policies.get(os)
    return policy is None or decide(policy, flow).verdict == "allow"


def judged(flow: Flow, os: OperatingSystem) -> bool:
    """Whether there are such flows of which a policy may say anything."""
    return not is_loopback(flow) and (os, flow.direction) != ("windows", "forward")


def assert_right(
    found: Difference, old: Policies, new: Policies, some: Iterator[Flow]
) -> dict[Box, int]:
    """Holds the boxes to the oracle. How many of the flows only one box has, by box."""
    alone = dict.fromkeys((*found.allowed, *found.denied), 0)
    for flow in some:
        for os in SYSTEMS:
            if not judged(flow, os):
                continue
            before, after = allowed(old, os, flow), allowed(new, os, flow)
            for boxes, wanted in (
                (found.allowed, after and not before),
                (found.denied, before and not after),
            ):
                holding = [box for box in boxes if holds(box, os, flow)]
                assert bool(holding) == wanted, (os, flow)
                if len(holding) == 1:
                    alone[holding[0]] += 1
    return alone


@given(st.sampled_from([4, 6]), st.data())
@examples(40)
def test_each_flow_of_a_small_world(family: int, data: st.DataObject) -> None:
    old, new = (data.draw(small_policies(family)) for _ in range(2))
    found = difference(old, new)
    addresses = ADDRESSES[family]
    all_flows = (Flow(*ends) for ends in product(DIRECTIONS, addresses, addresses, PORTS))
    alone = assert_right(found, old, new, all_flows)
    # Of the other family rules say nothing, and its only part has no address in this world.
    for box, number in alone.items():
        if box.sources[0].version == family:
            assert number, f"{box} is needless"
    for boxes in (found.allowed, found.denied):
        for index, one in enumerate(boxes):
            for other in boxes[:index]:
                assert not could_be_one(one, other)


def could_be_one(one: Box, other: Box) -> bool:
    """Whether one box would say the same as two."""
    family = one.sources[0].version == other.sources[0].version
    sides = ("systems", "sources", "destinations", "ports")
    differing = sum(getattr(one, side) != getattr(other, side) for side in sides)
    return family and one.direction == other.direction and differing <= 1


def policies_of(given_: Mapping[str, Any]) -> dict[OperatingSystem, Policy]:
    """Of a user's values."""
    full = merged(given_)
    return {os: Policy.from_values(full, os) for os in SYSTEMS if full[os]["enabled"]}


def changed(given_: Mapping[str, Any], numbers: random.Random) -> dict[str, Any]:
    """Other values: some rules are gone, some have another's parts, and scopes change."""
    rules = []
    for rule in given_["rules"]:
        other = numbers.choice(given_["rules"])
        key = numbers.choice(["direction", "ports", "from", "to", "os"])
        if numbers.random() < 0.7:
            rules.append({**rule, key: other.get(key)} if numbers.random() < 0.5 else rule)
    scopes: dict[str, Any] = {os: {"scope": numbers.choice(["host", "cluster"])} for os in SYSTEMS}
    presets = {"dns": numbers.random() < 0.5, "quic": numbers.random() < 0.5}
    return {**given_, **scopes, "presets": presets, "rules": rules}


@given(values(), st.integers(0, 1 << 32))
@examples(40)
def test_sampled_flows_of_real_values(one: dict[str, Any], seed: int) -> None:
    numbers = random.Random(seed)
    other = changed(one, numbers)
    old, new = policies_of(one), policies_of(other)
    found = difference(old, new)
    near = [islice(flows(merged(given_), numbers), 100) for given_ in (one, other)]
    assert_right(found, old, new, chain(*near))
    back = difference(new, old)
    assert (back.allowed, back.denied) == (found.denied, found.allowed)
    assert len(back.settings) == len(found.settings)


@given(values(), st.integers(0, 1 << 32))
@examples(25)
def test_the_same_in_other_words(one: dict[str, Any], seed: int) -> None:
    numbers = random.Random(seed)
    policies = policies_of(one)
    reworded = {os: rewritten(policy, numbers) for os, policy in policies.items()}
    assert difference(policies, reworded).empty
    assert difference(policies, policies) == Difference((), (), (), ())
    # Not only the meaning: a difference looks the same, however the policies are written.
    against = policies_of(changed(one, numbers))
    assert difference(against, policies) == difference(against, reworded)


def rewritten(policy: Policy, numbers: random.Random) -> Policy:
    """Each rule twice: for half of each source, and for each port alone; in any order."""
    rules = []
    for rule in policy.rules:
        sources = rule.sources or networks(["0.0.0.0/0", "::/0"])
        for half in (0, 1):
            some = tuple(halves(net)[half] for net in sources)
            rules += [replace(rule, sources=some, ports=(ends,)) for ends in rule.ports]
    numbers.shuffle(rules)
    return replace(policy, rules=tuple(rules))


def halves(net: Network) -> list[Network]:
    """Its halves; a single address stays."""
    return [net] * 2 if net.prefixlen == net.max_prefixlen else list(net.subnets())


def shown(given_: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> list[str]:
    """What becomes allowed, one line a box; nothing is to be denied."""
    found = difference(policies_of(base or {}), policies_of(given_))
    assert not found.denied
    return [text(box) for box in found.allowed]


def text(box: Box) -> str:
    ends = (",".join(map(canonical, end)) for end in (box.sources, box.destinations))
    ports = ",".join(f"{low}-{high}" for low, high in box.ports)
    return f"{box.direction} {'+'.join(box.systems)} {' > '.join(ends)} {ports}"


def ingress(ports: Any, *sources: str, os: str = "linux", **more: Any) -> dict[str, Any]:
    """A rule; its name is what it says."""
    rule = {"name": "r", "direction": "ingress", "ports": [ports], "os": [os], **more}
    return {**rule, "from": list(sources)} if sources else rule


def test_a_new_rule_is_one_box() -> None:
    rule = {
        "name": "r", "direction": "ingress", "ports": [7, "9-11", 12],
        "from": ["172.20.1.0/24", "172.20.0.0/24"], "to": ["10.0.0.1"],
    }  # fmt: skip
    assert shown({"rules": [rule]}) == ["ingress linux+windows 172.20.0.0/23 > 10.0.0.1 7-7,9-12"]


def test_rules_that_overlap_stay_as_they_are() -> None:
    """Taken apart into boxes without common flows they would have two dozen CIDRs."""
    rules = [ingress("1000-1099", "10.1.2.3"), ingress(1050, "10.0.0.0/8")]
    assert shown({"rules": rules}) == [
        "ingress linux 10.1.2.3 > 0.0.0.0/0 1000-1099",
        "ingress linux 10.0.0.0/8 > 0.0.0.0/0 1050-1050",
    ]


def test_rules_that_are_one_are_one_box() -> None:
    rules = [
        ingress(1000, "10.0.0.0/9"),
        ingress(1000, "10.128.0.0/9"),
        ingress(1001, "10.0.0.0/8"),
    ]
    assert shown({"rules": rules}) == ["ingress linux 10.0.0.0/8 > 0.0.0.0/0 1000-1001"]


def test_any_address_is_a_box_a_family() -> None:
    assert shown({"rules": [ingress(1000)]}) == [
        "ingress linux 0.0.0.0/0 > 0.0.0.0/0 1000-1000",
        "ingress linux ::/0 > ::/0 1000-1000",
    ]


def test_only_what_was_not_allowed_before() -> None:
    base = {"rules": [ingress("1010-1019", "10.1.0.0/16"), ingress(5, "10.0.0.0/8")]}
    rules = [*base["rules"], ingress("1000-1029", "10.1.0.0/16"), ingress(5, "10.2.0.0/16")]
    assert shown({"rules": rules}, base) == [
        "ingress linux 10.1.0.0/16 > 0.0.0.0/0 1000-1009,1020-1029"
    ]


def test_scope_cluster_allows_what_it_leaves_alone() -> None:
    assert shown({"rules": [ingress(1000, "10.0.0.0/8", os="windows")]}) == []
    rule = ingress(1000, "172.16.0.0/12", os="windows")
    assert shown(
        {"rules": [rule], "cluster": {"podCIDRs": ["172.20.5.0/24"]}},
        {"cluster": {"podCIDRs": ["172.20.5.0/24"]}},
    ) == ["ingress windows 172.19.1.0/24,172.20.5.0/24,172.21.0.0/16 > 0.0.0.0/0 1000-1000"]


def test_loopback_changes_nothing() -> None:
    rule = ingress(1000, "127.0.0.0/8", to=["127.0.0.1"])
    assert difference(policies_of({}), policies_of({"rules": [rule]})).empty
    # And it cuts no hole into what changes.
    assert shown({"rules": [ingress(1000), rule]}, {"rules": [rule]}) == [
        "ingress linux 0.0.0.0/0 > 0.0.0.0/0 1000-1000",
        "ingress linux ::/0 > ::/0 1000-1000",
    ]


def test_what_passes_through_a_windows_host_is_nobodys_business() -> None:
    rule = {"name": "r", "direction": "forward", "ports": [1000]}
    assert shown({"rules": [rule]}) == [
        "forward linux 0.0.0.0/0 > 0.0.0.0/0 1000-1000",
        "forward linux ::/0 > ::/0 1000-1000",
    ]


def test_settings() -> None:
    old = policies_of({"mode": "audit"})
    new = policies_of({"denyAction": "reject", "windows": {"scope": "host"}})
    found = difference(old, new).settings
    assert [(s.os, s.name, s.old, s.new) for s in found] == [
        ("linux", "mode", "audit", "enforce"),
        ("linux", "denyAction", "drop", "reject"),
        ("windows", "mode", "audit", "enforce"),
        # Windows drops, whatever denyAction is.
        ("windows", "scope", "cluster", "host"),
    ]
    assert all(s.meaning for s in found)


def test_a_system_without_agent_allows_all() -> None:
    off = {"windows": {"enabled": False}, "mode": "audit"}
    found = difference(policies_of(off), policies_of({}))
    assert not found.allowed
    assert {box.systems for box in found.denied} == {("windows",)}
    assert [(s.os, s.name, s.new) for s in found.settings] == [
        ("linux", "mode", "enforce"), ("windows", "enabled", "true")
    ]  # fmt: skip
    nobody: dict[str, Any] = {os: {"enabled": False} for os in SYSTEMS}
    assert difference(policies_of(nobody), policies_of({**nobody, "mode": "audit"})).empty


def test_a_lifeline_is_lost() -> None:
    new = {"presets": {"dhcp": False}, "rules": [ingress(68, "0.0.0.0/0")]}
    cluster = merged(new)["cluster"]
    found = difference(policies_of({}), policies_of(new), [cluster]).lifelines
    assert [
        (loss.name, loss.os, loss.direction, str(loss.destination), loss.port) for loss in found
    ] == [
        ("dhcp", "linux", "egress", "0.0.0.0/0", 67),
        ("dhcp", "linux", "egress", "::/0", 547),
        ("dhcp", "linux", "ingress", "::/0", 546),
        # With scope cluster only to and from the cluster; that it has no IPv6.
        ("dhcp", "windows", "egress", "0.0.0.0/0", 67),
        ("dhcp", "windows", "ingress", "0.0.0.0/0", 68),
    ]
    assert difference(policies_of(new), policies_of(new), [cluster]).lifelines == ()
    assert difference(policies_of(new), policies_of({}), [cluster]).lifelines == ()


def test_a_lifeline_of_the_old_addresses_is_lost() -> None:
    """The nodes do not have the new addresses because values say so.

    To a Windows host with scope cluster, those are strangers that it does not judge.
    """
    moved = {"cluster": {"nodeCIDRs": ["10.5.0.0/24"]}}
    one, other = merged({})["cluster"], merged(moved)["cluster"]
    for old, new, nodes in (({}, moved, "172.19.1.0/24"), (moved, {}, "10.5.0.0/24")):
        found = difference(policies_of(old), policies_of(new), [one, other]).lifelines
        assert len(set(found)) == len(found)
        assert {
            (loss.name, loss.os, loss.direction, str(loss.source), loss.port) for loss in found
        } == {
            ("dns", "linux", "ingress", nodes, 53),
            ("dns", "linux", "forward", nodes, 53),
            ("flannelVxlan", "linux", "egress", nodes, 8472),
            ("flannelVxlan", "linux", "ingress", nodes, 8472),
        }


def many(seed: int) -> dict[str, Any]:
    """1,000 rules of 10 sources, whose ports overlap ten deep."""
    numbers = random.Random(seed)
    return {
        "rules": [
            {
                "name": f"{direction}-{i}",
                "direction": direction,
                "ports": [f"{2000 + i}-{2009 + i}"],
                "from": [
                    str(IPv4Address(numbers.randrange(16 << 24, 100 << 24))) for _ in range(10)
                ],
            }
            for direction in ("ingress", "forward")
            for i in range(500)
        ]
    }


def test_a_thousand_rules_take_moments() -> None:
    """Of the processor's time, and three times as many as the 5 s that it may take."""
    old = many(0)
    edited = {"rules": [*old["rules"][1:], ingress(1000, "10.0.0.0/8")]}
    for new, changes in ((edited, (1, 1)), (many(1), (1000, 1000))):
        full = [merged(given_) for given_ in (old, new)]
        began = time.process_time()
        before, after = ({os: Policy.from_values(v, os) for os in SYSTEMS} for v in full)
        found = difference(before, after, [v["cluster"] for v in full])
        assert time.process_time() - began < 15
        assert (len(found.allowed), len(found.denied)) == changes
