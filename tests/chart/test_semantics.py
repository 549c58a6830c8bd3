# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What a policy is refused for although the schema takes it: the templates and the package use the
same words, and these are they.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from udp_security import policy

from .conftest import Load, Render
from .support import CHART, SYSTEMS, Helm, Refused, merged, refusals, rule

MESSAGES = yaml.load(
    (CHART / "files" / "policy" / "messages.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader
)


@dataclass(frozen=True)
class Case:
    """Values, and all lines that they are refused with."""

    values: dict[str, Any]
    lines: Sequence[str]

    def __str__(self) -> str:
        return self.lines[0].partition(" (")[0][:90]


def of_rule(line: str, **keys: Any) -> Case:
    """A policy of one rule, called a."""
    return Case({"rules": [rule(**keys)]}, [line])


NO_PRESETS = dict.fromkeys(("dns", "dhcp", "ntp", "flannelVxlan"), False)
HINT_DNS = (
    "(set presets.dns: true, add a rule that covers it, or accept the outage by adding dns to "
    "dangerouslyCutOff)"
)
HINT_DHCP = HINT_DNS.replace("dns", "dhcp")
HINT_VXLAN = HINT_DNS.replace("dns", "flannelVxlan")
SERVICE_HINT = (
    "an address that Linux has already replaced by a pod's when the rule is judged (name the pods, "
    "as in cluster.podCIDRs; for Windows nodes use a rule of its own with os: [windows])"
)

CASES: dict[str, list[Case]] = {
    "portRange": [
        of_rule(
            'rules[0].ports[0]: rule "a": port range "70-60" ends before it starts (write "60-70")',
            ports=["70-60"],
        ),
        of_rule(
            'rules[0].ports[2]: rule "a": port range "65535-1" ends before it starts '
            '(write "1-65535")',
            ports=[53, "5-5", "65535-1"],
            os=["windows"],
        ),
    ],
    "hostBits": [
        of_rule(
            'rules[0].from[0]: rule "a": from "10.1.2.3/8" has host bits set (the network is '
            '"10.0.0.0/8"; the single host is "10.1.2.3")',
            from_=["10.1.2.3/8"],
        ),
        of_rule(
            'rules[0].to[1]: rule "a": to "FD00::1:0/64" has host bits set (the network is '
            '"fd00::/64"; the single host is "fd00::1:0")',
            to=["fd00::/64", "FD00::1:0/64"],
        ),
        of_rule(
            'rules[0].from[0]: rule "a": from "1.2.3.4/0" has host bits set (the network is '
            '"0.0.0.0/0"; the single host is "1.2.3.4")',
            from_=["1.2.3.4/0"],
        ),
        # Newer Pythons would write the host as ::ffff:1.2.3.4.
        of_rule(
            'rules[0].from[0]: rule "a": from "::ffff:102:304/64" has host bits set (the network '
            'is "::/64"; the single host is "::ffff:102:304")',
            from_=["::ffff:102:304/64"],
        ),
        *(
            Case(
                {"cluster": {key: ["10.99.0.1/16"]}},
                [
                    f'cluster.{key}[0]: cluster.{key} "10.99.0.1/16" has host bits set (the '
                    'network is "10.99.0.0/16"; the single host is "10.99.0.1")'
                ],
            )
            for key in ("podCIDRs", "serviceCIDRs", "nodeCIDRs", "dnsServers")
        ),
    ],
    "mapped": [
        of_rule(
            'rules[0].from[0]: rule "a": from "::ffff:a01:203" is an IPv4-mapped IPv6 address '
            '(write the IPv4 form "10.1.2.3")',
            from_=["::ffff:a01:203"],
        ),
        of_rule(
            'rules[0].to[0]: rule "a": to "::FFFF:0:0/96" is an IPv4-mapped IPv6 address '
            '(write the IPv4 form "0.0.0.0/0")',
            to=["::FFFF:0:0/96"],
        ),
        of_rule(
            'rules[0].to[0]: rule "a": to "0:0:0:0:0:ffff:a01:0/112" is an IPv4-mapped IPv6 '
            'address (write the IPv4 form "10.1.0.0/16")',
            to=["0:0:0:0:0:ffff:a01:0/112"],
        ),
        Case(
            {"linux": {"untrackedReplyAddresses": ["169.254.20.10", "::ffff:a9fe:140a"]}},
            [
                "linux.untrackedReplyAddresses[1]: linux.untrackedReplyAddresses "
                '"::ffff:a9fe:140a" is an IPv4-mapped IPv6 address (write the IPv4 form '
                '"169.254.20.10")'
            ],
        ),
    ],
    "duplicateName": [
        Case(
            {"rules": [rule("a"), rule("b"), rule("a", os=["windows"]), rule("a")]},
            [
                f'rules[{index}].name: rule "a": 3 rules have this name (names are the counters\' '
                "names: give each rule its own)"
                for index in (2, 3)
            ],
        )
    ],
    "forwardWindows": [
        of_rule(
            'rules[0].direction: rule "a": direction forward never happens on a Windows host '
            "(add linux to os, or use ingress or egress)",
            direction="forward",
            os=["windows"],
        )
    ],
    "noCommonFamily": [
        of_rule(
            'rules[0].to: rule "a": from and to have no address family in common, so it allows '
            "nothing (from is IPv4, to is IPv6: give both the same family)",
            from_=["10.0.0.0/8"],
            to=["::/0"],
        ),
        of_rule(
            'rules[0].to: rule "a": from and to have no address family in common, so it allows '
            "nothing (from is IPv6, to is IPv4: give both the same family)",
            from_=["fd00::1", "fd00::2"],
            to=["0.0.0.0/0"],
            os=["windows"],
        ),
    ],
    "serviceDestination": [
        of_rule(
            'rules[0].to[1]: rule "a": to "172.21.0.10" lies in cluster.serviceCIDRs '
            f'"172.21.0.0/16", {SERVICE_HINT}',
            direction="egress",
            to=["10.0.0.1", "172.21.0.10"],
        ),
        Case(
            {
                "cluster": {"serviceCIDRs": ["10.96.0.0/12", "FD00:0::/108"]},
                "rules": [rule(to=["10.96.0.0/12", "fd00::1", "10.0.0.0/8"])],
            },
            [
                'rules[0].to[0]: rule "a": to "10.96.0.0/12" lies in cluster.serviceCIDRs '
                f'"10.96.0.0/12", {SERVICE_HINT}',
                'rules[0].to[1]: rule "a": to "fd00::1" lies in cluster.serviceCIDRs '
                f'"fd00::/108", {SERVICE_HINT}',
            ],
        ),
    ],
    "cacheMask": [
        *(
            Case(
                {"linux": {"verdictCache": {"mask": mask}}},
                [
                    f"linux.verdictCache.mask: the bits of {text} are not a single run of at least "
                    "4 (the verdict cache needs such a part of the conntrack mark that nobody else "
                    "uses, for example 0xff000000)"
                ],
            )
            for mask, text in (
                (0xE0000000, "0xe0000000"),
                (16, "0x00000010"),
                (0xFF00FF00, "0xff00ff00"),
                (0x8000000F, "0x8000000f"),
                (0xFFFFFFFD, "0xfffffffd"),
            )
        ),
        Case(
            {"linux": {"verdictCache": {"enabled": False, "mask": 0xF0F}}},
            [
                "linux.verdictCache.mask: the bits of 0x00000f0f are not a single run of at least "
                "4 (the verdict cache needs such a part of the conntrack mark that nobody else "
                "uses, for example 0xff000000)"
            ],
        ),
    ],
    "overlap": [
        # 101 single ports that 151 rules name, 100 between them that 150 name, and a preset's 53
        # and 68, each shared with one rule.
        Case(
            {"rules": [rule(f"r{i}", ports=[i + 1, "20000-20200"]) for i in range(150)]
             + [rule("deep", ports=[f"{2 * i + 20000}" for i in range(101)])]},
            [
                "rules: the rules overlap too deeply: 151 ingress rules name port 20000, and the "
                "ruleset would need 30255 jumps where 30000 are allowed (merge rules that share "
                "ports and addresses)"
            ],
        )
    ],
    "lifeline": [
        Case(
            {"presets": NO_PRESETS},
            [
                "presets.dns: lifeline dns is cut off on Linux and Windows nodes: no rule allows "
                f"egress from 0.0.0.0/0 to 0.0.0.0/0 on port 53 {HINT_DNS}",
                "presets.dhcp: lifeline dhcp is cut off on Linux and Windows nodes: no rule allows "
                f"egress from 0.0.0.0/0 to 0.0.0.0/0 on port 67 {HINT_DHCP}",
                "presets.flannelVxlan: lifeline flannelVxlan is cut off on Linux nodes: no rule "
                "allows egress from 172.19.1.0/24 to 172.19.1.0/24 on port 8472 "
                f"{HINT_VXLAN}",
                "presets.flannelVxlan: lifeline flannelVxlan is cut off on Windows nodes: no rule "
                "allows egress from 172.19.1.0/24 to 172.19.1.0/24 on port 4789 "
                f"{HINT_VXLAN}",
            ],
        ),
        Case(
            {"presets": {"dns": False, "dhcp": None, "flannelVxlan": False},
             "dangerouslyCutOff": ["flannelVxlan", "dns"], "windows": {"enabled": False}},
            [
                "presets.dhcp: lifeline dhcp is cut off on Linux nodes: no rule allows egress from "
                f"0.0.0.0/0 to 0.0.0.0/0 on port 67 {HINT_DHCP}"
            ],
        ),
        # Two halves are not a cover: a box must lie in one rule.
        Case(
            {
                "presets": {"flannelVxlan": False},
                "rules": [
                    rule("out", direction="egress", ports=["4000-9000"], to=["172.16.0.0/12"]),
                    rule("in-a", ports=[4789, 8472], from_=["172.19.1.0/25"]),
                    rule("in-b", ports=[4789, 8472], from_=["172.19.1.128/25"]),
                ],
            },
            [
                "presets.flannelVxlan: lifeline flannelVxlan is cut off on Linux nodes: no rule "
                "allows ingress from 172.19.1.0/24 to 172.19.1.0/24 on port 8472 "
                f"{HINT_VXLAN}",
                "presets.flannelVxlan: lifeline flannelVxlan is cut off on Windows nodes: no rule "
                "allows ingress from 172.19.1.0/24 to 172.19.1.0/24 on port 4789 "
                f"{HINT_VXLAN}",
            ],
        ),
        # Each system's port is needed on its own nodes alone.
        *(
            Case(
                {
                    "presets": {"flannelVxlan": False},
                    "rules": [
                        rule("out", direction="egress", ports=[given]),
                        rule("in", ports=[given]),
                    ],
                },
                [
                    f"presets.flannelVxlan: lifeline flannelVxlan is cut off on {nodes} nodes: no "
                    "rule allows egress from 172.19.1.0/24 to 172.19.1.0/24 on port "
                    f"{missing} {HINT_VXLAN}"
                ],
            )
            for given, nodes, missing in ((4789, "Linux", 8472), (8472, "Windows", 4789))
        ),
        Case(
            {
                "presets": {"dns": False},
                "rules": [
                    rule("w", ports=[53], os=["windows"]),
                    rule("e", direction="egress", ports=["1-53"]),
                    rule("f", direction="forward", ports=[53]),
                ],
            },
            [
                "presets.dns: lifeline dns is cut off on Linux nodes: no rule allows ingress from "
                f"172.20.0.0/16 to 0.0.0.0/0 on port 53 {HINT_DNS}"
            ],
        ),
        # The same rule may leave different things out, as Windows sees services.
        Case(
            {
                "presets": {"dns": False},
                "cluster": {"dnsServers": ["192.0.2.53"]},
                "rules": [
                    rule("e", direction="egress", ports=[53], to=["192.0.2.53", "172.20.0.0/16"]),
                    rule("i", ports=[53]),
                ],
            },
            [
                "presets.dns: lifeline dns is cut off on Linux nodes: no rule allows forward from "
                f"172.20.0.0/16 to 192.0.2.53 on port 53 {HINT_DNS}",
                "presets.dns: lifeline dns is cut off on Windows nodes: no rule allows egress from "
                f"0.0.0.0/0 to 172.21.0.0/16 on port 53 {HINT_DNS}",
            ],
        ),
        Case(
            {"presets": NO_PRESETS, "linux": {"enabled": False}, "dangerouslyCutOff": ["dns"]},
            [
                "presets.dhcp: lifeline dhcp is cut off on Windows nodes: no rule allows egress "
                f"from 0.0.0.0/0 to 0.0.0.0/0 on port 67 {HINT_DHCP}",
                "presets.flannelVxlan: lifeline flannelVxlan is cut off on Windows nodes: no rule "
                "allows egress from 172.19.1.0/24 to 172.19.1.0/24 on port 4789 "
                f"{HINT_VXLAN}",
            ],
        ),
    ],
}  # fmt: skip
# The package doesn't render, so it cannot know.
HELM_ONLY = {"size"}


@pytest.mark.parametrize(
    "case", [case for cases in CASES.values() for case in cases], ids=str
)  # fmt: skip
def test_both_refuse_in_these_words(helm: Helm, case: Case) -> None:
    with pytest.raises(Refused) as refused:
        helm.template(case.values)
    assert refusals(refused.value) == case.lines
    assert [str(problem) for problem in policy.check(merged(case.values))] == case.lines


def test_every_message_has_cases_and_every_case_a_message() -> None:
    assert set(CASES) | HELM_ONLY == set(MESSAGES)
    for key, cases in CASES.items():
        marker = MESSAGES[key].split("%")[-1].partition(" ")[2]
        for case in cases:
            assert all(marker in line for line in case.lines), (key, marker)


def test_helm_3_refuses_in_the_same_words(helm3: Helm) -> None:
    case = CASES["lifeline"][0]
    with pytest.raises(Refused) as refused:
        helm3.template(case.values)
    assert refusals(refused.value) == case.lines


def test_all_problems_are_told_at_once_in_the_values_order(helm: Helm) -> None:
    values = {
        "cluster": {"podCIDRs": ["172.20.0.1/16", "::ffff:0:1"], "nodeCIDRs": ["10.0.0.1/8"]},
        "presets": {"dhcp": False},
        "rules": [
            rule("b", ports=["2-1"], from_=["10.0.0.1/8"], to=["fd00::1/8"]),
            rule("b", direction="forward", ports=["9-8", "7-6"], os=["windows"]),
        ],
        "linux": {
            "untrackedReplyAddresses": ["::ffff:1:1"],
            "verdictCache": {"mask": 0xFF00FF},
        },
    }
    with pytest.raises(Refused) as refused:
        helm.template(values)
    lines = refusals(refused.value)
    assert [line.partition(": ")[0] for line in lines] == [
        "cluster.podCIDRs[0]",
        "cluster.podCIDRs[1]",
        "cluster.nodeCIDRs[0]",
        "rules[0].ports[0]",
        "rules[0].from[0]",
        "rules[0].to[0]",
        "rules[0].to",
        "rules[1].name",
        "rules[1].ports[0]",
        "rules[1].ports[1]",
        "rules[1].direction",
        "linux.untrackedReplyAddresses[0]",
        "linux.verdictCache.mask",
        "presets.dhcp",
    ]
    assert lines == [str(problem) for problem in policy.check(merged(values))]


GOOD: dict[str, dict[str, Any]] = {
    "windows alone may name services": {
        "rules": [rule(direction="egress", to=["172.21.0.10"], os=["windows"])]
    },
    "a destination wider than the services": {"rules": [rule(to=["172.20.0.0/15"])]},
    "an address of the other family in services": {
        "cluster": {"serviceCIDRs": ["::/0"]},
        "rules": [rule(to=["172.21.0.10"])],
    },
    "one common family is enough": {
        "rules": [rule(from_=["10.0.0.0/8", "fd00::/8"], to=["fd00::/8"])]
    },
    "forward on both": {"rules": [rule(direction="forward", os=["windows", "linux"])]},
    "not IPv4-mapped": {"rules": [rule(from_=["64:ff9b::/96", "::/0", "::fffe:0:0/96"])]},
    "a cut lifeline that is named": {
        "presets": NO_PRESETS,
        "dangerouslyCutOff": ["dhcp", "dns", "flannelVxlan"],
    },
    "own rules cover the lifelines": {
        "presets": NO_PRESETS,
        "rules": [
            rule("out", direction="egress", ports=["1-65535"]),
            rule("in", ports=["1-65535"], from_=["0.0.0.0/0", "::/0"]),
            rule("through", direction="forward", ports=["1-65535"], to=["0.0.0.0/0", "::/0"]),
        ],
    },
    "a rule for each family": {
        "presets": NO_PRESETS,
        "rules": [
            rule(
                f"{direction}-{number}",
                direction=direction,
                ports=["1-9000"],
                from_=[everywhere],
                to=[everywhere],
            )
            for direction in ("ingress", "egress", "forward")
            for number, everywhere in enumerate(["0.0.0.0/0", "::/0"])
        ],
    },
    "without Linux nodes nothing of Linux is checked": {
        "linux": {
            "enabled": False,
            "untrackedReplyAddresses": ["::ffff:1:1"],
            "verdictCache": {"mask": 0xF0F},
        },
        "presets": {"flannelVxlan": False},
        "rules": [
            rule(to=["172.21.0.10"]),
            rule("out", direction="egress", ports=[4789], os=["windows"]),
            rule("in", ports=[4789], os=["windows"]),
        ],
    },
    "without Windows nodes nothing of Windows is checked": {
        "windows": {"enabled": False},
        "presets": {"flannelVxlan": False},
        "rules": [
            rule("out", direction="egress", ports=[8472], os=["linux"]),
            rule("in", ports=[8472], os=["linux"]),
        ],
    },
    "each system's own port of Flannel is enough": {
        "presets": {"flannelVxlan": False},
        "rules": [
            rule(f"{direction}-{port}", direction=direction, ports=[port], os=[os])
            for direction in ("ingress", "egress")
            for port, os in ((8472, "linux"), (4789, "windows"))
        ],
    },
    **{
        f"cache mask {mask:#x}": {"linux": {"verdictCache": {"mask": mask}}}
        for mask in (0xF, 0x1E, 0xF0000000, 0xFFFF0000, 0xFFFFFFFF)
    },
    "without any nodes no lifeline is": {
        "linux": {"enabled": False},
        "windows": {"enabled": False},
        "presets": NO_PRESETS,
    },
    "rules for Windows cover what is cut off there": {
        "presets": {"dns": False},
        "linux": {"enabled": False},
        "cluster": {"dnsServers": ["192.0.2.53"]},
        "rules": [
            rule("e", direction="egress", ports=[53], to=["192.0.2.53", "172.16.0.0/12"]),
            rule("i", ports=[53], os=["windows"]),
        ],
    },
}


@pytest.mark.parametrize("values", GOOD.values(), ids=list(GOOD))
def test_both_take(helm: Helm, values: dict[str, Any]) -> None:
    helm.template(values)
    assert policy.check(merged(values)) == []


def test_a_wrong_policy_is_refused_where_nothing_is_governed(helm: Helm) -> None:
    off = {os: {"enabled": False} for os in SYSTEMS}
    values = {**off, "rules": [rule(ports=["2-1"])]}
    with pytest.raises(Refused) as refused:
        helm.template(values)
    assert refusals(refused.value) == [str(p) for p in policy.check(merged(values))] != []


def test_a_thousand_rules_ten_deep_load(render: Render, load: Load) -> None:
    rules = [rule(f"r{i}", ports=[f"{10 * i + 1}-{10 * i + 100}"]) for i in range(1000)]
    load(render({"rules": rules}).ruleset)
