# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The ruleset as text: what can and cannot get into it, and that nft takes it."""

from __future__ import annotations

import difflib
import re
import subprocess
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Load, Render
from .support import CHART, rule

NASTY = [
    'it\'s "quoted"',
    "line\n# udp-security\n\tcounter evil { }\n",
    "} } flush ruleset",
    "'; nft flush ruleset #",
    "{{ .Values }} {{- fail \"x\" }} {{",
    "|\n  policy.nft: |\n",
    "*/ -}}",
    "\t\\ \\n \x7f \u2028 \u202e é 🔥",
    "%s %d %!",
    "$(reboot) `reboot` ${PATH}",
]  # fmt: skip
BOTH = ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8", "fe80::/10"]


@pytest.mark.parametrize("description", NASTY)
def test_a_description_never_gets_in(render: Render, description: str) -> None:
    plain = render({"rules": [rule()]})
    described = render({"rules": [rule(description=description)]})
    assert described.config_map == plain.config_map


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(max_size=40), min_size=10, max_size=30))
def test_no_description_gets_in(render: Render, descriptions: list[str]) -> None:
    plain = [rule(f"r{i}") for i in range(len(descriptions))]
    described = [
        {**given, "description": text} for given, text in zip(plain, descriptions, strict=True)
    ]
    assert render({"rules": described}).config_map == render({"rules": plain}).config_map


# Words of nft's language, of this ruleset and of the agent; numbers; the longest name.
NAMES = [
    "policy", "fwd", "53", "drop", "accept", "counter", "chain", "map", "table", "inet", "ip", "ct",
    "g0", "g1", "xg0", "mirror", "ports", "ingress", "input", "untracked", "preset", "denied",
    "owner-x", "standby-x", "0", "a--b", "from4", "reserved", "a" * 63,
]  # fmt: skip


def test_any_name_will_do(render: Render, load: Load) -> None:
    rules = [
        rule(name, direction=direction, ports=[53, "60-70"], from_=BOTH, to=BOTH)
        for name, direction in zip(
            NAMES, ["ingress", "egress", "forward"] * len(NAMES), strict=False
        )
    ]
    values = {"rules": rules, "linux": {"untrackedReplyAddresses": ["169.254.20.10", "fd00::10"]}}
    ruleset = render(values).ruleset
    load(ruleset)
    for name in NAMES:
        assert f"\tcounter r.{name} {{ }}\n" in ruleset


def test_the_agents_numbering_keeps_names_apart(render: Render, load: Load) -> None:
    """The agent replaces the 0 of `g0.` by its own number; rules may be called g0, g1 and g7."""
    rules = [
        rule(name, ports=[1000 + index], from_=[f"10.{index}.0.0/24", f"10.{index}.2.0/24"])
        for index, name in enumerate(["g0", "g7", "xg0", "xg7"])
    ]
    ruleset = render({"rules": rules}).ruleset
    agent = (CHART / "files" / "linux" / "agent.sh").read_text(encoding="utf-8")
    commands = re.findall(r"sed (?:-n )?.*?-e (\"s/[^\"]*g0[^\"]*\")", agent)
    assert len(set(commands)) == 1
    numbered = subprocess.run(
        ["sh", "-c", f"set -- 7; sed -e {commands[0].replace('$1', '${1}')}"],
        check=True,
        input=ruleset,
        capture_output=True,
        text=True,
    ).stdout
    load(numbered)
    defined = re.findall(r"^\t(?:set|chain|map) (\S+) \{", numbered, flags=re.MULTILINE)
    assert len(defined) == len(set(defined))
    assert {"g7.r.g0.from4", "g7.r.g7.from4", "g7.r.xg0.from4", "g7.r.xg7.from4"} <= set(defined)
    assert not [name for name in defined if name.startswith("g0.")]


def test_awkward_sets_load(render: Render, load: Load) -> None:
    edges = ["0.0.0.0/1", "128.0.0.0/1", "255.255.255.255", "0.0.0.0", "10.0.0.0/8", "10.0.0.0/8"]
    edges6 = ["::/1", "8000::/1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::", "fd00::/8"]
    rules = [
        rule("halves", from_=edges, to=edges6 + edges),
        rule("any-among-others", from_=["10.0.0.0/8", "0.0.0.0/0"], to=["::/0", "1.2.3.4", "::1"]),
        rule("all-ports", direction="forward", ports=["1-65535"], from_=edges6),
        rule("one", direction="forward", ports=[1, 65535, "1-1", "65535-65535", 1]),
    ]
    for scope in ("host", "cluster"):
        linux = {"scope": scope, "untrackedReplyAddresses": ["10.0.0.1"]}
        load(render({"rules": rules, "linux": linux, "denyAction": "reject"}).ruleset)


def test_an_empty_policy_loads(render: Render, load: Load) -> None:
    presets = dict.fromkeys(("dns", "dhcp", "ntp", "flannelVxlan"), False)
    cut = ["dns", "dhcp", "flannelVxlan"]
    ruleset = render({"presets": presets, "dangerouslyCutOff": cut}).ruleset
    load(ruleset)
    assert "vmap" not in ruleset


@pytest.mark.parametrize(
    ("values", "statement"),
    [
        ({}, "drop"),
        ({"denyAction": "reject"}, "reject with icmpx type port-unreachable"),
        ({"mode": "audit"}, "accept"),
        ({"mode": "audit", "denyAction": "reject"}, "accept"),
    ],
    ids=str,
)
def test_how_a_flow_is_denied(render: Render, values: dict[str, str], statement: str) -> None:
    ruleset = render(values).ruleset
    denials = re.findall(r"counter name denied\.(\w+) (.*)", ruleset)
    assert denials == [
        (direction, statement)
        for direction in ("ingress", "egress", "forward")
        for _ in ("tracked", "untracked")
    ]


def test_facts_for_the_agent(render: Render) -> None:
    rendered = render(
        {
            "mode": "audit",
            "cluster": {"nodeCIDRs": ["10.0.0.0/24", "FD00:0::/64"]},
            "rules": [
                rule("a", ports=[4789, "7000-7001"], from_=["10.0.0.0/16"], to=["10.0.0.0/24"]),
                # Not among all nodes, so no fact.
                rule("b", ports=[5000], from_=["10.0.0.0/25"]),
                rule("c", direction="egress", ports=[5001], to=["10.0.0.0/8"], os=["windows"]),
                rule("d", direction="egress", ports=[51820], to=["::/0"]),
            ],
        }
    )
    lines = rendered.facts.splitlines()
    assert re.fullmatch(r"version \d+\.\d+\.\d+", lines[0])
    assert lines[1:] == [
        "mode audit",
        "denyAction drop",
        "scope host",
        "nodeCIDRs 10.0.0.0/24 fd00::/64",
        "podCIDRs 172.20.0.0/16",
        "ports egress 10.0.0.0/24 53-53 67-67 123-123 8472-8472",
        "ports egress fd00::/64 53-53 547-547 123-123 8472-8472 51820-51820",
        "ports ingress 10.0.0.0/24 53-53 68-68 8472-8472 4789-4789 7000-7001",
        "ports ingress fd00::/64 53-53 546-546 8472-8472",
    ]


@pytest.mark.parametrize("position", [0, 7, 15])
def test_a_new_rule_changes_only_lines_that_are_about_it(render: Render, position: int) -> None:
    rules = [rule(f"r{i}", ports=[f"{1000 + i}-{1010 + i}"], from_=BOTH) for i in range(15)]
    # Overlaps the segments of several others.
    new = rule("new", ports=["1007-1009", 2000], from_=BOTH)
    before = render({"rules": rules}).ruleset.splitlines()
    after = render({"rules": [*rules[:position], new, *rules[position:]]}).ruleset.splitlines()
    difference = list(difflib.ndiff(before, after))
    assert not [line for line in difference if line.startswith("- ")]
    added = [line[2:] for line in difference if line.startswith("+ ")]
    # Its counter, a comment, two sets of 8 lines with their elements, its chain, its part of three
    # segments and a port of its own.
    assert len(added) <= 35
    body = "|".join(map(re.escape, [*BOTH, "type ipv4_addr", "type ipv6_addr"]))
    fixed = rf"\t*(flags interval|auto-merge|elements = {{|}}|{body})?,?"
    assert [x for x in added if not re.search(r"\bnew\b", x) and not re.fullmatch(fixed, x)] == []


def test_order_and_spelling_change_nothing_but_their_lines(render: Render) -> None:
    def ruleset(**keys: Any) -> str:
        return render({"rules": [rule(from_=["fd00::/8"], **keys)]}).ruleset

    assert ruleset(to=["FD00:0::1/128"]) == ruleset(to=["fd00::1"])
    assert ruleset(ports=["53"]) == ruleset(ports=[53]) == ruleset(ports=[53.0])
