# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What is suggested for denied flows: enough, and nothing besides."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import examples, flows, merged, values
from tests.unit.denials import NOW, denied

from udp_security import policy
from udp_security.chart import chart_dir
from udp_security.policy.aggregation import counted_once
from udp_security.policy.denied import DeniedFlow
from udp_security.policy.difference import difference
from udp_security.policy.eligibility import MANY
from udp_security.policy.ground import Ground
from udp_security.policy.model import Flow, Policy, networks, port_range
from udp_security.policy.suggestion import Suggestion, suggest
from udp_security.values import schema
from udp_security.values.load import ValuesFile
from udp_security.values.merge import Values

NODE = "172.19.1.100"
NAMES = (None, "pod ward/gateway-0", "pod ward/db-7d9c8b6f5-x2x9z", "node linux-a")
SCHEMA = json.loads((chart_dir() / "values.schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("told", "packets", "nodes"),
    [
        ([("a", 6), ("a", 9), ("a", 7)], 9, "a"),
        ([("a", 6), ("b", 9)], 15, "ab"),
        # Of what a and b told together nobody knows whose is how much.
        ([("a", 6), ("ab", 9), ("c", 1)], 10, "abc"),
        ([("a", 9), ("ab", 6), ("b", 5)], 14, "ab"),
        ([("", 6), ("", 9), ("a", 1)], 10, "a"),
    ],
)
def test_no_packet_counts_twice(told: list[tuple[str, int]], packets: int, nodes: str) -> None:
    flows = [
        replace(denied("ingress", "10.1.0.7", NODE, 514, count), nodes=tuple(on))
        for on, count in told
    ]
    for order in (flows, flows[::-1]):
        (one,) = counted_once(order)
        assert (one.packets, one.bytes, "".join(one.nodes)) == (packets, packets * 60, nodes)


def test_the_names_are_the_latest() -> None:
    ends = [("pod ward/old", "node a"), ("pod ward/new", None), (None, None)]
    flows = [
        replace(
            denied("ingress", "10.1.0.7", NODE, 514, names=names),
            last_seen=NOW + timedelta(hours=hour),
        )
        for hour, names in enumerate(ends)
    ]
    (one,) = counted_once([flows[1], flows[2], flows[0]])
    assert (one.source_name, one.destination_name) == ("pod ward/new", "node a")
    assert one.last_seen == NOW + timedelta(hours=2)


def ground(**more: Any) -> Ground:
    return Ground.of_values(merged(more))


def rules(suggestion: Suggestion) -> list[dict[str, Any]]:
    """The rules without the words."""
    left = ("direction", "ports", "from", "to", "os")
    return [{key: each.rule[key] for key in left} for each in suggestion.rules]


def ends(suggestion: Suggestion) -> list[tuple[Any, ...]]:
    return [tuple(rule[key] for key in ("ports", "from", "to")) for rule in rules(suggestion)]


def kinds(suggestion: Suggestion) -> dict[str, int]:
    return {left.kind: len(left.flows) for left in suggestion.left_out}


@st.composite
def denials(draw: st.DrawFn) -> tuple[dict[str, Any], list[DeniedFlow]]:
    """Values, and flows near the edges of what they allow."""
    wanted = draw(values())
    numbers = random.Random(draw(st.integers(0, 1 << 30)))
    some = list(islice(flows(wanted, numbers), numbers.choice([3, 30, 60])))
    # And others between the same ends and ports, so that there is something to merge.
    few = numbers.sample(some, 3)
    grid = product(few, few, few)
    mixed = [Flow(a.direction, a.source, b.destination, c.port) for a, b, c in grid]
    found: dict[Any, DeniedFlow] = {}
    for flow in [*some, *numbers.sample(mixed, 18)]:
        if flow.source.version == flow.destination.version:
            os = numbers.choice(["linux", "linux", "linux", "windows"])
            found[os, flow] = DeniedFlow(
                **{**vars(flow), "packets": numbers.choice([0, 1, 9, 10, 10, 10, 1 << 70])},
                bytes=1,
                os=os,  # type: ignore[arg-type]
                nodes=("n",),
                last_seen=numbers.choice([None, NOW]),
                source_name=numbers.choice(NAMES),
                destination_name=numbers.choice(NAMES),
            )
    return wanted, list(found.values())


def added(given: Mapping[str, Any], suggestion: Suggestion) -> dict[str, Any]:
    """The merged values with what is suggested."""
    switches = {each.preset: True for each in suggestion.presets}
    return {
        **given,
        "presets": {**given["presets"], **switches},
        "rules": [*given["rules"], *(each.rule for each in suggestion.rules)],
    }


@examples(30)
@given(denials(), st.sampled_from([(32, 128), (32, 128), (24, 64), (8, 16)]))
def test_what_is_eligible_is_allowed_and_nothing_else(
    case: tuple[dict[str, Any], list[DeniedFlow]], lengths: tuple[int, int]
) -> None:
    full = merged(case[0])
    base = Ground.of_values(full)
    prefixes = dict(zip((4, 6), lengths, strict=True))
    suggestion = suggest(case[1], base, 10, prefixes)
    apart = {flow for left in suggestion.left_out for flow in left.flows}
    # The chart takes them.
    new = added(full, suggestion)
    assert policy.check(new) == []
    assert not list(schema.check(new, SCHEMA, Values(ValuesFile("d", "{}"), [], [])))
    # Nothing is lost on the way.
    policies = base.added(suggestion.added)
    passing = [flow for flow in case[1] if allowed(policies, flow)]
    assert {*case[1]} == apart | {*passing}
    assert suggestion.allowed == sum(allowed(base.policies, flow) for flow in case[1])
    # The rules, read as the chart reads them, say the same.
    for os, meant in policies.items():
        assert set(Policy.from_values(new, os).rules) == set(meant.rules)
    # And open what was seen alone.
    presets = [rule for each in suggestion.presets for rule in base.off[each.preset]]
    change = difference(base.added(presets), policies)
    assert change.denied == () and change.settings == ()
    seen = {
        (flow.direction, flow.source, flow.destination, flow.port)
        for flow in case[1]
        if flow not in apart
    }
    if lengths == (32, 128):
        for box in change.allowed:
            # Neighbours are one network there.
            assert all(net.num_addresses <= 8 for net in (*box.sources, *box.destinations))
            sources, destinations = (
                [address for net in nets for address in net]
                for nets in (box.sources, box.destinations)
            )
            for source, destination in product(sources, destinations):
                # Between a node's own loopback addresses nothing is ever denied.
                if not (source.is_loopback and destination.is_loopback):
                    for low, high in box.ports:
                        for port in range(low, high + 1):
                            assert (box.direction, source, destination, port) in seen
    for suggested in suggestion.rules:
        for end, place in (("from", 1), ("to", 2)):
            for net in networks(suggested.rule[end]):
                assert net.prefixlen >= prefixes[net.version]
                assert any(
                    flow[0] == suggested.rule["direction"]
                    and flow[place] in net
                    and any(low <= flow[3] <= high for low, high in ports(suggested.rule))
                    for flow in seen
                )


def ports(rule: Mapping[str, Any]) -> list[tuple[int, int]]:
    return [port_range(port) for port in rule["ports"]]


def allowed(policies: Mapping[Any, Policy], flow: DeniedFlow) -> bool:
    asked = Flow(flow.direction, flow.source, flow.destination, flow.port)
    return flow.os not in policies or policy.decide(policies[flow.os], asked).verdict == "allow"


@examples(15)
@given(denials(), st.randoms())
def test_the_flows_order_does_not_matter(
    case: tuple[dict[str, Any], list[DeniedFlow]], numbers: random.Random
) -> None:
    base = Ground.of_values(merged(case[0]))
    shuffled = [*case[1]]
    numbers.shuffle(shuffled)
    assert suggest(shuffled, base) == suggest(case[1], base)


def test_ports_and_addresses_are_merged() -> None:
    seen = [
        denied("ingress", source, NODE, port)
        for source in ("10.1.0.7", "10.1.0.9", "10.1.3.3")
        for port in (514, 515, 517)
    ]
    assert rules(suggest(seen, ground())) == [
        {
            "direction": "ingress",
            "ports": ["514-515", 517],
            "from": ["10.1.0.7", "10.1.0.9", "10.1.3.3"],
            "to": [NODE],
            "os": ["linux"],
        }
    ]


def test_both_families_of_a_service_are_one_rule() -> None:
    seen = [
        denied("ingress", "10.1.0.7", NODE, 514),
        denied("ingress", "fd00:10::7", "fd00:19::100", 514),
    ]
    assert ends(suggest(seen, ground())) == [
        ([514], ["10.1.0.7", "fd00:10::7"], [NODE, "fd00:19::100"])
    ]


def test_systems_are_those_that_denied_it() -> None:
    seen = [
        denied("ingress", "172.19.1.7", NODE, 600),
        denied("ingress", "172.19.1.7", NODE, 600, os="windows"),
        denied("ingress", "172.19.1.7", NODE, 700, os="windows"),
    ]
    found = rules(suggest(seen, ground()))
    assert [(rule["ports"], rule["os"]) for rule in found] == [
        ([600], ["linux", "windows"]),
        ([700], ["windows"]),
    ]


@pytest.mark.parametrize(
    ("length", "sources"),
    [
        (32, ["10.1.0.7", "10.1.0.9", "10.1.3.3"]),
        # The narrowest network that holds them, and one address alone stays one.
        (24, ["10.1.0.0/28", "10.1.3.3"]),
        (22, ["10.1.0.0/22"]),
        (8, ["10.1.0.0/22"]),
    ],
)
def test_networks_are_as_wide_as_asked(length: int, sources: list[str]) -> None:
    seen = [denied("ingress", end, NODE, 514) for end in ("10.1.0.7", "10.1.0.9", "10.1.3.3")]
    found = suggest(seen, ground(), prefixes={4: length, 6: 128})
    assert ends(found) == [([514], sources, [NODE])]


def test_what_a_network_opens_is_said() -> None:
    seen = [denied("ingress", end, NODE, 514) for end in ("10.1.0.7", "10.1.0.9")]
    (rule,) = suggest(seen, ground(), prefixes={4: 24, 6: 64}).rules
    assert "opens the sources 10.1.0.0/28: 14 addresses beyond the 2 seen" in rule.reasons


def test_nothing_is_opened_between_ends_that_were_not_seen_together() -> None:
    seen = [
        denied("ingress", "10.1.0.7", NODE, 514),
        denied("ingress", "10.2.0.7", NODE, 515),
        denied("ingress", "10.1.0.8", NODE, 515),
    ]
    found = suggest(seen, ground(), prefixes={4: 8, 6: 64})
    assert ends(found) == [
        ([514], ["10.1.0.7"], [NODE]),
        ([515], ["10.0.0.0/14"], [NODE]),
    ]


def test_a_pods_address_is_not_for_long() -> None:
    seen = [denied("ingress", "172.20.0.5", NODE, 514, names=("pod ward/gateway-0", None))]
    (rule,) = suggest(seen, ground()).rules
    assert rule.rule["from"] == ["172.20.0.5"]
    assert any("a pod that is made anew has another address" in each for each in rule.reasons)
    (rule,) = suggest(seen, ground(), prefixes={4: 17, 6: 128}).rules
    assert rule.rule["from"] == ["172.20.0.5"]
    (rule,) = suggest(seen, ground(), prefixes={4: 16, 6: 128}).rules
    assert rule.rule["from"] == ["172.20.0.0/16"]
    assert not any("made anew" in each for each in rule.reasons)


def test_sources_seen_once_are_apart() -> None:
    seen = [
        denied("ingress", "10.1.0.7", NODE, 514, 1),
        denied("ingress", "10.1.0.8", NODE, 514, 1),
        denied("ingress", "10.1.0.8", NODE, 515, 1),
    ]
    found = suggest(seen, ground(), min_packets=1)
    assert kinds(found) == {"once": 1}
    assert ends(found) == [(["514-515"], ["10.1.0.8"], [NODE])]
    assert kinds(suggest(seen, ground(), min_packets=2)) == {"once": 1, "few": 2}


def test_a_source_of_one_flow_is_to_be_known() -> None:
    (rule,) = suggest([denied("ingress", "10.1.0.7", NODE, 514)], ground()).rules
    assert any("be sure that you know it" in each for each in rule.reasons)


def test_forged_floods_become_nothing() -> None:
    numbers = random.Random(7)
    flood = [
        denied(
            "ingress", f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}", NODE, numbers.randint(600, 65535)
        )
        for n in range(10_000)
    ]
    began = time.monotonic()
    found = suggest(flood, ground())
    assert time.monotonic() - began < 30
    assert (found.rules, kinds(found)) == ((), {"crowd": 10_000})
    # With what the cluster has a name for it is another matter.
    known = denied("ingress", "172.20.0.5", NODE, 514, names=("pod ward/gateway-0", None))
    assert len(suggest([*flood, known], ground()).rules) == 1


def test_a_crowd_of_one_network_is_gathered() -> None:
    seen = [denied("ingress", f"10.1.0.{n}", NODE, 514) for n in range(1, MANY + 2)]
    assert kinds(suggest(seen, ground())) == {"crowd": MANY + 1}
    found = suggest(seen, ground(), prefixes={4: 24, 6: 64})
    assert ends(found) == [([514], ["10.1.0.0/26"], [NODE])]
    assert len(suggest(seen[1:], ground()).rules[0].rule["from"]) == MANY


def test_a_port_scan_becomes_nothing() -> None:
    scan = [denied("ingress", "10.1.0.7", NODE, port) for port in range(1000, 1001 + MANY)]
    assert kinds(suggest(scan, ground())) == {"scan": MANY + 1}
    assert ends(suggest(scan[1:], ground())) == [(["1001-1032"], ["10.1.0.7"], [NODE])]


@pytest.mark.parametrize(
    ("flow", "why"),
    [
        (denied("forward", "172.20.0.5", "172.21.0.9", 514), "a service's address"),
        (denied("ingress", "10.1.0.7", NODE, 0), "port 0"),
        (denied("ingress", "::ffff:10.1.0.7", "fd00::1", 514), "IPv4-mapped"),
        (denied("forward", "10.1.0.7", "10.2.0.7", 514, os="windows"), "Windows host"),
    ],
)
def test_what_would_be_refused_is_left_out(flow: DeniedFlow, why: str) -> None:
    found = suggest([flow], ground(windows={"scope": "host"}))
    assert not found.rules
    (left,) = found.left_out
    assert (left.kind, left.flows) == ("refused", (flow,)) and why in left.why


def test_a_preset_that_is_off_is_switched_on() -> None:
    base = ground(presets={"dhcp": False}, dangerouslyCutOff=["dhcp"])
    # Half a lifeline is none.
    found = suggest([denied("egress", NODE, "255.255.255.255", 67)], base)
    assert ([each.preset for each in found.presets], found.rules) == (["dhcp"], ())


def test_a_preset_for_any_address_is_only_mentioned() -> None:
    found = suggest([denied("egress", NODE, "8.8.4.4", 443)], ground(presets={"quic": False}))
    assert (found.presets, ends(found)) == ((), [([443], [NODE], ["8.8.4.4"])])
    said = "instead, presets.quic: true would allow egress 443 from and to any address"
    assert said in found.rules[0].reasons
    found = suggest([denied("egress", NODE, "8.8.4.4", 600)], ground())
    assert not any("preset" in reason for reason in found.rules[0].reasons)


def test_what_is_allowed_already_is_dropped() -> None:
    found = suggest([denied("egress", NODE, "8.8.8.8", 53)], ground())
    assert (found.rules, found.left_out, found.allowed) == ((), (), 1)
    without = suggest([denied("ingress", "10.1.0.7", NODE, 514)], ground(linux={"enabled": False}))
    assert without.allowed == 1


@pytest.mark.parametrize(
    ("flow", "name"),
    [
        (denied("ingress", "10.1.0.7", NODE, 514), "ingress-514-from-10-1-0-7"),
        (
            denied("ingress", "10.1.0.7", NODE, 514, names=("pod ward/db-7d9c8b6f5-x2x9z", None)),
            "ingress-514-from-db",
        ),
        (
            denied("forward", "10.1.0.7", "172.20.0.9", 514,
                   names=(None, "pod ward/gateway-0")),
            "forward-514-to-gateway-0",
        ),
        (denied("egress", "fd00::1", "fd00::7", 6000), "egress-6000-to-fd00-7"),
    ],
)  # fmt: skip
def test_names_say_what_for(flow: DeniedFlow, name: str) -> None:
    (rule,) = suggest([flow], ground()).rules
    assert rule.rule["name"] == name
    taken = [{"name": name, "direction": "egress", "ports": [1]}]
    (rule,) = suggest([flow], ground(rules=taken)).rules
    assert rule.rule["name"] == f"{name}-2"


def test_long_names_fit() -> None:
    long = f"pod {'n' * 63}/{'p-' * 120}0"
    seen: Sequence[DeniedFlow] = [
        denied("ingress", f"10.1.0.{n}", NODE, 514, names=(f"{long}{n}", long)) for n in (1, 2, 3)
    ]
    new = added(merged({}), suggest(seen, ground()))
    assert not list(schema.check(new, SCHEMA, Values(ValuesFile("d", "{}"), [], [])))
