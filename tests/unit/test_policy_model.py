# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Values become a policy: presets, systems, ports, canonical text."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from udp_security.chart import chart_dir
from udp_security.policy import Policy, Rule
from udp_security.policy.model import (
    ALL_SYSTEMS,
    OperatingSystem,
    address_text,
    all_rules,
    canonical,
    networks,
    port_range,
    resolve,
)


@pytest.fixture
def values() -> dict[str, Any]:
    """The chart's own values."""
    loaded: dict[str, Any] = yaml.safe_load((chart_dir() / "values.yaml").read_text("utf-8"))
    return loaded


LINUX: frozenset[OperatingSystem] = frozenset({"linux"})
WINDOWS: frozenset[OperatingSystem] = frozenset({"windows"})


def names(values: dict[str, Any]) -> list[str]:
    """The names of all rules."""
    return [rule.name for rule in all_rules(values)]


DEFAULT = [
    "preset:dns:egress", "preset:dns:egress-services", "preset:dns:ingress", "preset:dns:forward",
    "preset:dhcp:egress-v4", "preset:dhcp:ingress-v4", "preset:dhcp:egress-v6",
    "preset:dhcp:ingress-v6", "preset:ntp:egress",
    "preset:flannelVxlan:egress", "preset:flannelVxlan:ingress",
    "preset:flannelVxlan:egress-windows", "preset:flannelVxlan:ingress-windows",
]  # fmt: skip


def test_default_policy(values: dict[str, Any]) -> None:
    policy = Policy.from_values(values)
    assert (policy.mode, policy.deny_action, policy.scope) == ("enforce", "drop", "host")
    windows_alone = {
        "preset:dns:egress-services",
        "preset:flannelVxlan:egress-windows",
        "preset:flannelVxlan:ingress-windows",
    }
    assert [rule.name for rule in policy.rules] == [n for n in DEFAULT if n not in windows_alone]
    assert policy.cluster.networks == networks(["172.20.0.0/16", "172.21.0.0/16", "172.19.1.0/24"])


def test_default_policy_of_windows(values: dict[str, Any]) -> None:
    policy = Policy.from_values(values, os="windows")
    assert policy.scope == "cluster"
    linux_alone = {
        "preset:dns:forward",
        "preset:flannelVxlan:egress",
        "preset:flannelVxlan:ingress",
    }
    assert [rule.name for rule in policy.rules] == [n for n in DEFAULT if n not in linux_alone]


@pytest.mark.parametrize(
    ("preset", "direction", "ports"),
    [
        ("windowsDomain", "egress", ((88, 88), (389, 389), (464, 464), (137, 138))),
        ("vpn", "egress", ((500, 500), (4500, 4500))),
        ("quic", "egress", ((443, 443),)),
        ("ntp", "egress", ((123, 123),)),
    ],
)
def test_small_presets(
    values: dict[str, Any], preset: str, direction: str, ports: tuple[tuple[int, int], ...]
) -> None:
    values["presets"] = {preset: True}
    (rule,) = all_rules(values)
    assert rule == Rule(f"preset:{preset}:egress", "egress", ports)
    assert rule.path == ("presets", preset)
    assert direction == rule.direction


def test_preset_dns_is_about_the_cluster(values: dict[str, Any]) -> None:
    values["presets"] = {"dns": True}
    values["cluster"] = {
        "podCIDRs": ["10.1.0.0/16"],
        "serviceCIDRs": ["10.2.0.0/16"],
        "nodeCIDRs": ["10.3.0.0/16"],
        "dnsServers": ["10.4.0.1"],
    }
    pods, services, nodes, servers = networks(
        ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "10.4.0.1"]
    )
    at_53 = ((53, 53),)
    assert list(all_rules(values)) == [
        Rule("preset:dns:egress", "egress", at_53, None, (servers, pods, nodes)),
        Rule("preset:dns:egress-services", "egress", at_53, None, (services,), WINDOWS),
        Rule("preset:dns:ingress", "ingress", at_53, (pods, nodes), None),
        Rule("preset:dns:forward", "forward", at_53, (pods, nodes), (servers, pods, nodes), LINUX),
    ]


def test_preset_flannel_vxlan_is_among_nodes(values: dict[str, Any]) -> None:
    values["presets"] = {"flannelVxlan": True}
    nodes = networks(["172.19.1.0/24"])
    linux, windows = ((8472, 8472),), ((4789, 4789),)
    assert list(all_rules(values)) == [
        Rule("preset:flannelVxlan:egress", "egress", linux, None, nodes, LINUX),
        Rule("preset:flannelVxlan:ingress", "ingress", linux, nodes, None, LINUX),
        Rule("preset:flannelVxlan:egress-windows", "egress", windows, None, nodes, WINDOWS),
        Rule("preset:flannelVxlan:ingress-windows", "ingress", windows, nodes, None, WINDOWS),
    ]


def test_presets_that_are_off_or_absent_are_nothing(values: dict[str, Any]) -> None:
    values["presets"] = {"dns": False, "ntp": True}
    assert names(values) == ["preset:ntp:egress"]


def test_the_users_rules_come_last_with_their_places(values: dict[str, Any]) -> None:
    values["rules"] = [
        {"name": "a", "direction": "ingress", "ports": [1]},
        {"name": "b", "direction": "egress", "ports": ["2-3", 4], "from": ["FD00:0::/64"],
         "to": ["fd00::1"], "os": ["windows"], "description": "why"},
    ]  # fmt: skip
    assert names(values) == [*DEFAULT, "a", "b"]
    *_, first, last = all_rules(values)
    assert first == Rule("a", "ingress", ((1, 1),), None, None, ALL_SYSTEMS)
    assert last.ports == ((2, 3), (4, 4))
    assert last.sources == (ip_network("fd00::/64"),)
    assert last.destinations == (ip_network("fd00::1/128"),)
    assert last.os == {"windows"}
    assert last.description == "why"
    assert last.path == ("rules", 1)


def test_a_policy_keeps_its_systems_rules(values: dict[str, Any]) -> None:
    values["presets"] = {}
    values["rules"] = [
        {"name": name, "direction": "ingress", "ports": [1], **os}
        for name, os in (("all", {}), ("lin", {"os": ["linux"]}), ("win", {"os": ["windows"]}))
    ]
    linux, windows = Policy.from_values(values), Policy.from_values(values, os="windows")
    assert [rule.name for rule in linux.rules] == ["all", "lin"]
    assert [rule.name for rule in windows.rules] == ["all", "win"]
    assert (linux.scope, windows.scope) == ("host", "cluster")


@pytest.mark.parametrize(
    ("port", "expected"),
    [(514, (514, 514)), ("514", (514, 514)), (514.0, (514, 514)), ("1-65535", (1, 65535)),
     ("9-9", (9, 9)), ("70-60", (70, 60))],
)  # fmt: skip
def test_port_range(port: int | float | str, expected: tuple[int, int]) -> None:
    assert port_range(port) == expected


def test_resolve_keeps_order_and_constants() -> None:
    cluster = {"a": ["1", "2"], "b": []}
    assert resolve(["x", "cluster.a", "cluster.b", "y"], cluster) == ["x", "1", "2", "y"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10.0.0.1/32", "10.0.0.1"), ("10.0.0.0/8", "10.0.0.0/8"), ("FD00:0::/64", "fd00::/64"),
     ("fd00::1/128", "fd00::1"), ("::ffff:102:304", "::ffff:102:304"),
     ("::ffff:0:0/96", "::ffff:0:0/96"), ("0.0.0.0/0", "0.0.0.0/0")],
)  # fmt: skip
def test_canonical(text: str, expected: str) -> None:
    assert canonical(ip_network(text)) == expected


@given(st.ip_addresses())
def test_address_text_is_another_way_to_write_the_address(address: Any) -> None:
    text = address_text(address)
    assert ip_address(text) == address
    assert not (":" in text and "." in text)
