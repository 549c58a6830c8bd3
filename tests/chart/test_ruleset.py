# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The ruleset as text: what can and cannot get into it, and that nft takes it."""

from __future__ import annotations

import difflib
import itertools
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Load, Render
from .support import CHART, Values, merged, rule

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
DIRECTIONS = ("ingress", "egress", "forward")
RICH: Values = yaml.load(
    (Path(__file__).parent / "golden" / "rich.values.yaml").read_text("utf-8"), yaml.CSafeLoader
)


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
    agent = (CHART / "files" / "linux" / "nftables.sh").read_text(encoding="utf-8")
    commands = re.findall(r"-e (\"s/[^\"]*g0[^\"]*\")", agent)
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
    denials = re.findall(r"counter name denied\.(?!spoofed)(\w+) (.*)", ruleset)
    assert denials == [(direction, statement) for direction in DIRECTIONS]


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
        "backend auto",
        "cache 24 21 ff000000 on",
        "antiSpoofing yes",
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
    # Its counter, a comment, two sets with their elements, its chain, its part of three segments
    # and a port of its own.
    assert len(added) <= 29
    body = "|".join(map(re.escape, BOTH))
    fixed = rf"\t*(}} }}|}}|{body})?,?"
    assert [x for x in added if not re.search(r"\bnew\b", x) and not re.fullmatch(fixed, x)] == []


def test_order_and_spelling_change_nothing_but_their_lines(render: Render) -> None:
    def ruleset(**keys: Any) -> str:
        return render({"rules": [rule(from_=["fd00::/8"], **keys)]}).ruleset

    assert ruleset(to=["FD00:0::1/128"]) == ruleset(to=["fd00::1"])
    assert ruleset(ports=["53"]) == ruleset(ports=[53]) == ruleset(ports=[53.0])


def combinations() -> list[Values]:
    """Sixteen choices of eight settings that hold every combination of any three of them."""
    found: list[Values] = []
    for number, (a, b, c, d) in enumerate(itertools.product((0, 1), repeat=4)):
        replies = ["169.254.20.10", "fd00::10"]
        linux = {
            "scope": ("host", "cluster")[c],
            "verdictCache": {
                "enabled": not d,
                "mask": (0xFF000000, 0xF, 0x3C0, 2**32 - 1)[number % 4],
            },
            "antiSpoofing": not a ^ b ^ c,
            "prefilter": bool(a ^ b ^ d),
            "logDenials": bool(a ^ c ^ d),
            "untrackedReplyAddresses": replies if b ^ c ^ d else [],
        }
        mode, action = ("enforce", "audit")[a], ("drop", "reject")[b]
        found.append({**RICH, "mode": mode, "denyAction": action, "linux": linux})
    return found


@pytest.mark.parametrize("values", combinations(), ids=lambda v: str(v["linux"])[10:])
def test_every_combination_loads_and_comes_back_the_same(
    render: Render, reload: Load, values: Values
) -> None:
    """What nft lists can be loaded, too, and is listed the same way again."""
    reload(render(values).ruleset)


# The mask, how far up it is, how many generations have values of their own, and slot 0's values and
# the flags.
MASKS = [
    (0xFF000000, 24, 21, ("01000000", "02000000", "03000000", "40000000", "80000000")),
    (0x0000000F, 0, 1, ("00000001", "00000002", "00000003", "00000004", "00000008")),
    (0x000003C0, 6, 1, ("00000040", "00000080", "000000c0", "00000100", "00000200")),
    (0xFC000000, 26, 5, ("04000000", "08000000", "0c000000", "40000000", "80000000")),
    (0x001F0000, 16, 2, ("00010000", "00020000", "00030000", "00080000", "00100000")),
    (0x00FFFF00, 8, 85, ("00000100", "00000200", "00000300", "00400000", "00800000")),
    (0xFFFFFFFF, 0, 85, ("00000001", "00000002", "00000003", "40000000", "80000000")),
]


@pytest.mark.parametrize(("mask", "shift", "slots", "words"), MASKS, ids=str)
def test_the_caches_bits(
    render: Render, mask: int, shift: int, slots: int, words: tuple[str, ...]
) -> None:
    rendered = render({"linux": {"verdictCache": {"mask": mask}, "antiSpoofing": False}})
    assert f"cache {shift} {slots} {mask:08x} on" in rendered.facts.splitlines()
    ruleset = rendered.ruleset
    assert f"\tset cache.{mask:08x} {{ type mark; flags timeout; }}\n" in ruleset
    rest = f"0x{0xFFFFFFFF - mask:08x}"
    for direction, value in zip(DIRECTIONS, words, strict=False):
        assert chain(ruleset, f"g0.allow.{direction}") == [
            f"ct status and 0x2000 == 0 ct mark set ct mark and {rest} or 0x{value} accept",
            "accept",
        ]
        assert chain(ruleset, f"g0.deny.{direction}")[0] == (
            f"ct mark and 0x{mask:08x} != 0 ct mark set ct mark and {rest}"
        )
    flags = int(words[3], 16) | int(words[4], 16)
    values = f"ct mark and 0x{mask - flags:08x} =="
    ingress, egress, forward = (f"{values} 0x{value}" for value in words[:3])
    assert [one for one in trusted(ruleset) if not one.startswith("purge.")] == [
        f"input {ingress} ct direction original accept",
        f"input {egress} ct direction reply accept",
        f"output {egress} ct direction original accept",
        f"output {ingress} ct direction reply accept",
        f"forward {forward} accept",
    ]
    # Each slot's values lie in the bits that hold one, and none is zero.
    assert 3 * slots << shift <= mask - flags
    assert slots in (85, ((mask - flags) >> shift) // 3)


def test_the_flags_of_what_pods_send(render: Render) -> None:
    """What comes from the pods' bridge passes by its mark only where its source was checked."""
    ruleset = render().ruleset
    original, reply = "ct mark and 0x7f000000 ==", "ct mark and 0xbf000000 =="
    of, unless_pod = "ct mark and 0x3f000000 ==", 'iifname != "cni0" accept'
    purge = (
        "meta l4proto udp ct mark and 0x3f000000 !="
        " { 0x00000000, 0x01000000, 0x02000000, 0x03000000 } ct mark set ct mark and 0x00ffffff"
    )
    assert trusted(ruleset) == [
        f"purge.prerouting {purge}",
        f"purge.output {purge}",
        f"input {original} 0x01000000 | 0x40000000 ct direction original accept",
        f"input {of} 0x01000000 ct direction original {unless_pod}",
        f"input {of} 0x02000000 ct direction reply {unless_pod}",
        f"g0.input.guarded {of} 0x01000000 ct direction original ct mark set ct mark or 0x40000000"
        " accept",
        f"g0.input.guarded {of} 0x02000000 ct direction reply accept",
        f"output {of} 0x02000000 ct direction original accept",
        f"output {of} 0x01000000 ct direction reply accept",
        f"forward {original} 0x03000000 | 0x40000000 ct direction original accept",
        f"forward {reply} 0x03000000 | 0x80000000 ct direction reply accept",
        f"forward {of} 0x03000000 {unless_pod}",
        *(
            f"g0.forwarded.guarded {of} 0x03000000 ct direction {way} ct mark set ct mark or {flag}"
            " accept"
            for way, flag in (("original", "0x40000000"), ("reply", "0x80000000"))
        ),
    ]
    for guarded in ("g0.input", "g0.forwarded"):
        rules = re.findall(rf"^add rule inet udp_security {guarded}\.guarded (.*)$", ruleset, re.M)
        assert rules[0].startswith('iifname "cni0" meta l4proto udp fib saddr . iif oif missing ')
        assert rules[-1] == f"goto {guarded}"


def test_without_the_cache_nobodys_mark_is_touched(render: Render) -> None:
    rendered = render({**RICH, "linux": {"verdictCache": {"enabled": False}}})
    assert "ct mark" not in rendered.ruleset
    assert "# trusted" not in rendered.ruleset
    # Older generations may have had one: their values are remembered all the same.
    assert "\tset cache.ff000000 {" in rendered.ruleset
    assert "cache 24 21 ff000000 off" in rendered.facts.splitlines()


def test_every_allowed_flow_is_remembered_and_loopback_is_not(render: Render) -> None:
    linux = {"scope": "cluster", "untrackedReplyAddresses": ["10.0.0.1"]}
    ruleset = render({**RICH, "linux": linux}).ruleset
    lines = [line.strip() for line in ruleset.splitlines() if line.endswith(" accept")]
    # What else accepts is for untracked packets, which have no mark.
    untracked = r"ct state untracked |meta nfproto ipv[46] .*counter |ip6? [sd]addr != @g0\.cluster"
    kept = r"ct status and 0x2000 == 0 ct mark set |iifname \"lo\" |oifname \"lo\" "
    assert [line for line in lines if not re.match(f"{untracked}|{kept}", line)] == []
    assert ruleset.count("goto g0.allow.") > 20


@pytest.mark.parametrize("log", [False, True])
def test_denials_are_logged_only_on_demand_and_seldom(render: Render, log: bool) -> None:
    ruleset = render({"linux": {"logDenials": log}}).ruleset
    for direction in DIRECTIONS:
        # One rule, which tracked and untracked packets share.
        words = (
            f'limit rate 10/second burst 20 packets log prefix "udp-security denied {direction}: "'
        )
        assert chain(ruleset, f"g0.denied.{direction}") == [
            *([words] if log else []),
            f"counter name denied.{direction} drop",
        ]
    # And forged packets.
    assert ruleset.count(" log ") == (4 if log else 0)


@pytest.mark.parametrize(
    ("linux", "counters"),
    [
        ({"antiSpoofing": False}, set()),
        ({}, {"spoofed"}),
        ({"antiSpoofing": False, "prefilter": True}, {"prefiltered"}),
        ({"prefilter": True}, {"spoofed", "prefiltered"}),
    ],
)
def test_counters_of_what_is_denied(
    render: Render, linux: dict[str, Any], counters: set[str]
) -> None:
    ruleset = render({"linux": linux}).ruleset
    found = set(re.findall(r"^\tcounter denied\.(\S+) \{ \}$", ruleset, re.M))
    assert found == {*DIRECTIONS, *counters}


def test_audit_has_no_prefilter(render: Render) -> None:
    rendered = render({"mode": "audit", "linux": {"prefilter": True}})
    assert "prefilter" not in rendered.ruleset
    assert "prefilter" not in rendered.facts
    assert "prefilter yes" in render({"linux": {"prefilter": True}}).facts.splitlines()


def test_the_policy_for_iptables(render: Render) -> None:
    rules = [
        rule("any", ports=[5, "7-9", 5]),
        rule("v4", ports=["1-65535"], from_=["10.0.0.1/32", "10.0.0.0/8", "10.0.0.1"]),
        rule("both", direction="egress", to=["0.0.0.0/0", "10.0.0.0/8", "FD00:0::/64", "fd00::1"]),
        rule("through", direction="forward", from_=["10.0.0.1", "::1"], to=["::/0", "::2"]),
        rule("windows", os=["windows"]),
    ]
    presets = dict.fromkeys(merged({})["presets"], False)
    values = {
        "mode": "audit",
        "denyAction": "reject",
        "presets": {**presets, "ntp": True},
        "dangerouslyCutOff": ["dns", "dhcp", "flannelVxlan"],
        "rules": rules,
        "linux": {
            "scope": "cluster",
            "untrackedReplyAddresses": ["FD00:0::1", "10.0.0.1", "fd00::1"],
        },
    }
    assert render(values).files["policy.rules"].splitlines() == [
        "mode audit",
        "denyAction reject",
        "scope cluster",
        "logDenials no",
        "cluster4 172.20.0.0/16,172.21.0.0/16,172.19.1.0/24",
        "untrackedReply4 10.0.0.1",
        "cluster6 none",
        "untrackedReply6 fd00::1",
        "ingress r.any 5-5,7-9,5-5 any any any any",
        "ingress r.v4 1-65535 10.0.0.1,10.0.0.0/8 none any any",
        "egress r.preset.ntp.egress 123-123 any any any any",
        "egress r.both 1000-1000 any any any fd00::/64,fd00::1",
        "forward r.through 1000-1000 10.0.0.1 ::1 none any",
    ]


@pytest.mark.parametrize(
    ("linux", "files"),
    [
        ({}, {"nft", "rules", "bridge"}),
        ({"backend": "nftables"}, {"nft", "bridge"}),
        ({"backend": "iptables"}, {"rules"}),
        ({"antiSpoofing": False}, {"nft", "rules"}),
    ],
)
def test_each_backend_has_its_files(render: Render, linux: dict[str, Any], files: set[str]) -> None:
    given = render({"linux": linux}).files
    found = {name.partition(".")[2] for name in given if name.startswith("policy.")}
    assert found - {"sh"} == {"facts", *files}
    # The compiler of policy.rules is of no use without them.
    assert ("iptables.awk" in given) is ("rules" in files)


def trusted(ruleset: str) -> list[str]:
    """The rules that the agent leaves out at times, with their chains."""
    return re.findall(r"^add rule inet udp_security (.*) # trusted$", ruleset, re.M)


def chain(ruleset: str, name: str) -> list[str]:
    """The rules of a chain."""
    (body,) = re.findall(rf"^\tchain {re.escape(name)} {{\n(.*?)^\t}}$", ruleset, re.M | re.S)
    return [line.strip() for line in body.splitlines()]
