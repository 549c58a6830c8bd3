# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The oracle, on cases that a reader can judge alone."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, Literal

import pytest

from udp_security.policy import Cluster, Flow, Policy, Rule, decide
from udp_security.policy.model import Direction, networks

CLUSTER = Cluster(
    pods=networks(["172.20.0.0/16", "fd00:20::/64"]),
    services=networks(["172.21.0.0/16"]),
    nodes=networks(["172.19.1.0/24"]),
)


def policy_of(*rules: Rule, scope: Literal["host", "cluster"] = "host") -> Policy:
    """An enforcing policy of these rules."""
    return Policy("enforce", "drop", scope, CLUSTER, rules)


def rule(name: str = "a", direction: Direction = "ingress", **keys: Any) -> Rule:
    """A rule as the values have it; `from_` stands for `from`."""
    given = {key.rstrip("_"): value for key, value in keys.items()}
    return Rule.from_values({"ports": [53], **given, "name": name, "direction": direction})


def flow(source: str, destination: str, port: int = 53, direction: Direction = "ingress") -> Flow:
    """A flow between two addresses."""
    return Flow(direction, ip_address(source), ip_address(destination), port)


def verdict(policy: Policy, *flow_: Any, **keys: Any) -> str:
    """What becomes of a flow."""
    return decide(policy, flow(*flow_, **keys)).verdict


def test_nothing_allows_nothing() -> None:
    decision = decide(policy_of(), flow("10.0.0.1", "10.0.0.2"))
    assert (decision.verdict, decision.judged, decision.rules) == ("deny", True, ())


@pytest.mark.parametrize(
    ("port", "expected"),
    [(1, "deny"), (4999, "deny"), (5000, "allow"), (5050, "allow"), (5100, "allow"),
     (5101, "deny"), (514, "allow"), (513, "deny"), (515, "deny"), (65535, "allow")],
)  # fmt: skip
def test_the_edges_of_ports(port: int, expected: str) -> None:
    policy = policy_of(rule(ports=[514, "5000-5100", "65535"]))
    assert verdict(policy, "10.0.0.1", "10.0.0.2", port) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [("10.0.255.255", "deny"), ("10.1.0.0", "allow"), ("10.1.255.255", "allow"),
     ("10.2.0.0", "deny"), ("192.0.2.7", "allow"), ("192.0.2.8", "deny"), ("192.0.2.6", "deny"),
     ("fd00:0:0:1::", "allow"), ("fd00:0:0:1:ffff:ffff:ffff:ffff", "allow"),
     ("fd00:0:0:2::", "deny"), ("fd00::ffff:ffff:ffff:ffff", "deny")],
)  # fmt: skip
def test_the_edges_of_addresses(source: str, expected: str) -> None:
    given = rule(from_=["10.1.0.0/16", "192.0.2.7", "fd00:0:0:1::/64"])
    destination = "fd00::1" if ":" in source else "10.0.0.1"
    assert verdict(policy_of(given), source, destination) == expected
    mirrored = rule(to=["10.1.0.0/16", "192.0.2.7", "fd00:0:0:1::/64"])
    assert verdict(policy_of(mirrored), destination, source) == expected


def test_a_family_that_is_not_named_is_not_allowed() -> None:
    policy = policy_of(rule(from_=["0.0.0.0/0"]))
    assert verdict(policy, "10.0.0.1", "10.0.0.2") == "allow"
    assert verdict(policy, "fd00::1", "fd00::2") == "deny"
    # What the number of an IPv4 address would be in IPv6.
    assert verdict(policy_of(rule(from_=["::/0"])), "0.0.0.1", "0.0.0.2") == "deny"


def test_both_ends_must_match() -> None:
    policy = policy_of(rule(from_=["10.0.0.0/8"], to=["172.19.1.100"]))
    assert verdict(policy, "10.0.0.1", "172.19.1.100") == "allow"
    assert verdict(policy, "11.0.0.1", "172.19.1.100") == "deny"
    assert verdict(policy, "10.0.0.1", "172.19.1.101") == "deny"
    assert verdict(policy, "172.19.1.100", "10.0.0.1") == "deny"


def test_a_direction_allows_itself_alone() -> None:
    directions: list[Direction] = ["ingress", "egress", "forward"]
    for allowed in directions:
        policy = policy_of(rule(direction=allowed))
        for asked in directions:
            expected = "allow" if asked == allowed else "deny"
            assert verdict(policy, "10.0.0.1", "10.0.0.2", direction=asked) == expected


def test_all_allowing_rules_are_named_in_order() -> None:
    rules = [rule("a"), rule("b", ports=[54]), rule("c", ports=["50-60"]), rule("d", "egress")]
    decision = decide(policy_of(*rules), flow("10.0.0.1", "10.0.0.2"))
    assert [found.name for found in decision.rules] == ["a", "c"]


@pytest.mark.parametrize(
    ("direction", "source", "destination", "judged"),
    [
        # Of a node's own flows the remote end counts, not the node's.
        ("ingress", "172.20.0.9", "192.0.2.1", True),
        ("ingress", "172.21.0.9", "192.0.2.1", True),
        ("ingress", "172.19.1.9", "192.0.2.1", True),
        ("ingress", "192.0.2.1", "172.19.1.100", False),
        ("ingress", "172.19.2.0", "172.19.1.100", False),
        ("ingress", "fd00:20::1", "fd00:9::1", True),
        ("ingress", "fd00:21::1", "fd00:20::1", False),
        ("egress", "192.0.2.1", "172.20.0.9", True),
        ("egress", "172.19.1.100", "192.0.2.1", False),
        ("forward", "172.20.0.9", "192.0.2.1", True),
        ("forward", "192.0.2.1", "172.20.0.9", True),
        ("forward", "192.0.2.1", "192.0.2.2", False),
    ],
)
def test_scope_cluster(direction: Direction, source: str, destination: str, judged: bool) -> None:
    policy = policy_of(rule("a", "ingress", ports=[1]), scope="cluster")
    decision = decide(policy, flow(source, destination, 53, direction))
    assert decision.judged == judged
    assert decision.verdict == ("deny" if judged else "allow")
    assert decision.rules == ()
    assert decide(policy_of(), flow(source, destination, 53, direction)).judged


@pytest.mark.parametrize(
    ("direction", "source", "destination", "judged"),
    [
        ("ingress", "127.0.0.1", "127.255.255.255", False),
        ("egress", "127.0.0.0", "127.0.0.53", False),
        ("egress", "::1", "::1", False),
        ("ingress", "::1", "::2", True),
        ("egress", "126.255.255.255", "127.0.0.1", True),
        ("ingress", "127.0.0.1", "128.0.0.0", True),
        ("ingress", "::7f00:1", "::7f00:1", True),
        # A packet that leaves the node, or comes to it, with such addresses is not its own.
        ("forward", "127.0.0.1", "127.0.0.1", True),
    ],
)
def test_loopback(direction: Direction, source: str, destination: str, judged: bool) -> None:
    asked = flow(source, destination, 53, direction)
    decision = decide(policy_of(), asked)
    assert (decision.judged, decision.verdict) == (judged, "deny" if judged else "allow")
    allowing = policy_of(rule(direction=direction))
    assert [found.name for found in decide(allowing, asked).rules] == (["a"] if judged else [])


def test_an_allowed_flow_out_of_scope_names_no_rule() -> None:
    policy = policy_of(rule(), scope="cluster")
    decision = decide(policy, flow("192.0.2.1", "172.19.1.100"))
    assert (decision.verdict, decision.judged, decision.rules) == ("allow", False, ())


def test_networks_with_host_bits_mean_their_network() -> None:
    assert networks(["10.1.2.3/8"]) == (ip_network("10.0.0.0/8"),)
    assert verdict(policy_of(rule(from_=["10.1.2.3/8"])), "10.200.0.1", "10.0.0.2") == "allow"
