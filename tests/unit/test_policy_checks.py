# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Semantic checks and lifelines: where problems are, and what is no problem.

Their words, and that the templates use the same, are in tests/chart.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any

import pytest
import yaml

from udp_security.chart import chart_dir
from udp_security.policy import Problem, check, data
from udp_security.policy.model import SYSTEMS

ALL_PORTS = {"ports": ["1-65535"]}


@pytest.fixture
def values() -> dict[str, Any]:
    """The chart's own values."""
    loaded: dict[str, Any] = yaml.safe_load((chart_dir() / "values.yaml").read_text("utf-8"))
    return loaded


def paths(values: dict[str, Any]) -> list[tuple[str | int, ...]]:
    """Where the problems are."""
    return [problem.path for problem in check(values)]


def cut(values: dict[str, Any]) -> list[str]:
    """Which lifelines are cut."""
    return [str(path[1]) for path in paths(values) if path[0] == "presets"]


def where(values: dict[str, Any]) -> list[str]:
    """On which nodes lifelines are cut."""
    return [
        re.split(" cut off on | nodes: ", problem.message)[1]
        for problem in check(values)
        if problem.path[0] == "presets"
    ]


def rule(**keys: Any) -> dict[str, Any]:
    """A rule; `from_` stands for `from`."""
    given = {key.rstrip("_"): value for key, value in keys.items()}
    return {"name": "a", "direction": "ingress", "ports": [1], **given}


def vxlan(port: int, *os: str) -> list[dict[str, Any]]:
    """Rules that let an overlay of this port through on the nodes of `os`."""
    return [
        rule(name=f"{direction}-{port}", direction=direction, ports=[port], os=list(os))
        for direction in ("ingress", "egress")
    ]


def test_a_problem_shows_its_place_as_helm_users_write_it() -> None:
    problem = Problem(("rules", 3, "from", 0), "is wrong (mend it)")
    assert problem.place == "rules[3].from[0]"
    assert str(problem) == "rules[3].from[0]: is wrong (mend it)"
    assert str(Problem((), "x")) == ": x"


def test_the_defaults_are_right(values: dict[str, Any]) -> None:
    assert check(values) == []


def test_problems_of_one_rule_come_field_by_field(values: dict[str, Any]) -> None:
    bad = rule(ports=[1, "9-8"], from_=["10.0.0.1/8"], to=["fd00::", "fd00::1/8"])
    values["rules"] = [rule(), bad, bad]
    assert paths(values) == [
        ("rules", 1, "name"), ("rules", 1, "ports", 1), ("rules", 1, "from", 0),
        ("rules", 1, "to", 1), ("rules", 1, "to"),
        ("rules", 2, "name"), ("rules", 2, "ports", 1), ("rules", 2, "from", 0),
        ("rules", 2, "to", 1), ("rules", 2, "to"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("address", "problem"),
    [("10.0.0.0/8", None), ("10.0.0.1/8", "10.0.0.0/8"), ("10.0.0.1/32", None), ("10.0.0.1", None),
     ("0.0.0.1/0", "0.0.0.0/0"), ("10.0.0.1/31", "10.0.0.0/31"), ("fd00::/64", None),
     ("fd00::1/127", "fd00::/127"), ("::1/0", "::/0"), ("::ffff:a00:1", "10.0.0.1"),
     ("::ffff:a00:0/104", "10.0.0.0/8"), ("::ffff:a00:1/104", "10.0.0.1/8"),
     ("::fffe:a00:1", None), ("::fffe:0:0/95", None)],
)  # fmt: skip
def test_addresses(values: dict[str, Any], address: str, problem: str | None) -> None:
    values["rules"] = [rule(from_=[address])]
    found = check(values)
    if problem is None:
        assert found == []
    else:
        assert [one.path for one in found] == [("rules", 0, "from", 0)]
        assert f'"{problem}"' in found[0].message


@pytest.mark.parametrize(
    ("keys", "fine"),
    [
        ({}, True),
        ({"from": ["10.0.0.0/8"]}, True),
        ({"to": ["::/0"]}, True),
        ({"from": ["10.0.0.0/8"], "to": ["10.0.0.0/8", "::/0"]}, True),
        ({"from": ["10.0.0.0/8", "::/0"], "to": ["::1"]}, True),
        ({"from": ["10.0.0.0/8"], "to": ["::1"]}, False),
        ({"from": ["::1", "::2"], "to": ["0.0.0.0/0"]}, False),
    ],
)
def test_families(values: dict[str, Any], keys: dict[str, Any], fine: bool) -> None:
    values["rules"] = [rule(**keys)]
    assert paths(values) == ([] if fine else [("rules", 0, "to")])


@pytest.mark.parametrize(
    ("to", "os", "fine"),
    [
        (["172.21.0.10"], None, False),
        (["172.21.0.0/16"], ["linux"], False),
        (["172.21.0.10"], ["windows"], True),
        (["172.20.0.0/15"], None, True),
        (["172.22.0.0/16"], None, True),
        (["::/0"], None, True),
    ],
)
def test_service_destinations(
    values: dict[str, Any], to: list[str], os: list[str] | None, fine: bool
) -> None:
    values["rules"] = [rule(direction="egress", to=to, **({"os": os} if os else {}))]
    assert paths(values) == ([] if fine else [("rules", 0, "to", 0)])


def test_what_concerns_linux_is_not_checked_without_it(values: dict[str, Any]) -> None:
    values["linux"]["enabled"] = False
    values["presets"]["flannelVxlan"] = False
    values["rules"] = [
        rule(to=["172.21.0.10"]),
        rule(name="b", ports=["2-1"]),
        *vxlan(4789, "windows"),
    ]
    assert paths(values) == [("rules", 1, "ports", 0)]


def test_what_concerns_windows_is_not_checked_without_it(values: dict[str, Any]) -> None:
    values["windows"]["enabled"] = False
    values["presets"]["flannelVxlan"] = False
    values["rules"] = [*vxlan(8472, "linux"), rule(ports=["2-1"])]
    assert paths(values) == [("rules", 2, "ports", 0)]


def test_overlaps_are_bounded(values: dict[str, Any]) -> None:
    limit = data.limit("overlapJumps")
    # One segment of `depth` rules costs that many jumps.
    depth = 100
    ports = list(range(10_001, 10_001 + 2 * (limit // depth), 2))
    values["rules"] = [rule(name=f"r{n}", ports=ports) for n in range(depth)]
    assert paths(values) == []
    values["rules"].append(rule(name="more", ports=[10_001]))
    (problem,) = check(values)
    assert problem.path == ("rules",)
    assert f"{depth + 1} ingress rules name port 10001" in problem.message
    assert f"{limit + 1} jumps where {limit} are" in problem.message
    values["rules"][-1]["os"] = ["windows"]
    assert paths(values) == []


def test_each_preset_covers_its_lifeline(values: dict[str, Any]) -> None:
    assert cut(values) == []
    # Flannel's port differs, so each system's nodes lack another.
    for name, times in (("dns", 1), ("dhcp", 1), ("flannelVxlan", 2)):
        assert cut({**values, "presets": {**values["presets"], name: False}}) == [name] * times


def test_presets_cover_the_lifelines_of_any_cluster(values: dict[str, Any]) -> None:
    values["cluster"] = {
        "podCIDRs": ["10.1.0.0/16", "fd00:1::/64"],
        "serviceCIDRs": ["10.2.0.0/16"],
        "nodeCIDRs": ["10.3.0.0/24", "10.4.0.0/24", "fd00:3::/64"],
        "dnsServers": ["192.0.2.53"],
    }
    assert check(values) == []


def test_a_lifeline_that_is_named_may_be_cut(values: dict[str, Any]) -> None:
    values["presets"] = {}
    assert cut(values) == ["dns", "dhcp", "flannelVxlan", "flannelVxlan"]
    values["dangerouslyCutOff"] = ["dhcp", "dns"]
    assert cut(values) == ["flannelVxlan", "flannelVxlan"]
    values["dangerouslyCutOff"].append("flannelVxlan")
    assert cut(values) == []


def cover(**keys: Any) -> list[dict[str, Any]]:
    """Rules of all directions, which cover everything unless `keys` narrow them."""
    return [
        rule(name=direction, direction=direction, **{**ALL_PORTS, **keys})
        for direction in ("ingress", "egress", "forward")
    ]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, []),
        ({"from_": ["0.0.0.0/0", "::/0"], "to": ["0.0.0.0/0", "::/0"]}, []),
        ({"os": ["windows"]}, ["dns", "dhcp", "flannelVxlan"]),
        ({"os": ["linux"]}, ["dns", "dhcp", "flannelVxlan"]),
        ({"from_": ["0.0.0.0/0"]}, ["dns", "dhcp"]),
        ({"from_": ["172.16.0.0/12"]}, ["dns", "dhcp"]),
        # Two halves are not a whole: a box must lie in one network.
        ({"from_": ["0.0.0.0/1", "128.0.0.0/1", "::/0"]}, ["dns", "dhcp"]),
        ({"ports": ["54-65535"]}, ["dns"]),
        ({"ports": [53, 67, 68, "546-547"]}, ["flannelVxlan", "flannelVxlan"]),
        ({"ports": [53, 67, 68, "546-547", 4789, 8472]}, []),
        ({"ports": ["1-545", "547-65535"]}, ["dhcp"]),
        ({"ports": ["1-8471", "8473-65535"]}, ["flannelVxlan"]),
        ({"ports": ["1-4788", "4790-65535"]}, ["flannelVxlan"]),
    ],
)
def test_own_rules_cover_lifelines(
    values: dict[str, Any], keys: dict[str, Any], expected: list[str]
) -> None:
    values["presets"] = {}
    values["rules"] = cover(**keys)
    assert cut(values) == expected


@pytest.mark.parametrize(
    ("rules", "cut_off"),
    [
        ([], ["Linux", "Windows"]),
        (vxlan(8472, *SYSTEMS), ["Windows"]),
        (vxlan(4789, *SYSTEMS), ["Linux"]),
        (vxlan(8472, "linux") + vxlan(4789, "windows"), []),
        (vxlan(4789, "linux") + vxlan(8472, "windows"), ["Linux", "Windows"]),
    ],
)
def test_each_system_needs_its_own_port_of_flannel(
    values: dict[str, Any], rules: list[dict[str, Any]], cut_off: list[str]
) -> None:
    values["presets"]["flannelVxlan"] = False
    values["rules"] = rules
    assert where(values) == cut_off


BOXES = [(name, box) for name, of_name in data.lifelines().items() for box in of_name]


@pytest.mark.parametrize("missing", range(len(BOXES)))
@pytest.mark.parametrize("os", SYSTEMS)
def test_every_box_is_needed(values: dict[str, Any], os: str, missing: int) -> None:
    """A rule for each box of all lifelines covers them; without any one of these, one is cut where
    the box matters.
    """
    for system in SYSTEMS:
        values[system]["enabled"] = system == os
    values["presets"] = {}
    values["rules"] = [
        rule(
            name=f"r{index}",
            direction=box["direction"],
            ports=[box["port"]],
            **({"os": box["os"]} if "os" in box else {}),
            **{
                end: [
                    cidr
                    for text in box[end]
                    for cidr in values["cluster"].get(text.removeprefix("cluster."), [text])
                ]
                for end in ("from", "to")
                if end in box
            },
        )
        for index, (_, box) in enumerate(BOXES)
    ]
    assert cut(values) == []
    # Anywhere includes the cluster: those boxes are needed where dnsServers is narrower.
    values["cluster"]["dnsServers"] = ["192.0.2.53"]
    values["rules"] = [
        {**given, "to": ["192.0.2.53"]} if given.get("to") == ["0.0.0.0/0", "::/0"] else given
        for given in values["rules"]
    ]
    assert cut(values) == []
    del values["rules"][missing]
    name, box = BOXES[missing]
    assert cut(values) == ([name] if os in box.get("os", SYSTEMS) else [])


@pytest.mark.parametrize(
    ("governed", "cut_off"),
    [
        (["linux", "windows"], ["Linux and Windows", "Linux and Windows", "Linux", "Windows"]),
        (["linux"], ["Linux"] * 3),
        (["windows"], ["Windows"] * 3),
        ([], []),
    ],
)
def test_which_nodes_are_cut_off(
    values: dict[str, Any], governed: list[str], cut_off: list[str]
) -> None:
    values["presets"] = {}
    for system in SYSTEMS:
        values[system]["enabled"] = system in governed
    assert where(values) == cut_off


def test_systems_that_lack_different_things_are_told_so(values: dict[str, Any]) -> None:
    values["presets"]["dhcp"] = False
    values["rules"] = [rule(direction="egress", ports=[67], os=["windows"])]
    linux, windows = (problem.message for problem in check(values))
    assert "cut off on Linux nodes: no rule allows egress from 0.0.0.0/0 to 0.0.0.0/0 on" in linux
    assert "cut off on Windows nodes: no rule allows ingress from 0.0.0.0/0 to 0.0.0.0/0" in windows


def test_addresses_of_boxes_are_canonical_in_messages(values: dict[str, Any]) -> None:
    values["presets"]["flannelVxlan"] = False
    values["cluster"]["nodeCIDRs"] = ["FD00:0:0::/64"]
    linux, windows = (problem.message for problem in check(values))
    assert f"from {ip_network('fd00::/64')} to fd00::/64 on port 8472" in linux
    assert f"from {ip_network('fd00::/64')} to fd00::/64 on port 4789" in windows
