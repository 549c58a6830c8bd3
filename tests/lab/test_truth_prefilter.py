# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The prefilter in the truth table: what no rule can allow is dropped before conntrack sees it.

It must not touch what NAT turns into something that a rule allows, nor answers, nor loopback.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from tests.lab.agents import check, config_data, documents, heals
from tests.lab.table import (
    ALL_LIFELINES,
    NO_PRESETS,
    PATIENCE,
    Counters,
    Governed,
    Row,
    both,
    each_row_under,
    govern,
)

from udp_security.lab.addresses import ECHO, FAMILIES, NODES, OUTSIDER, PODS, Family, Pair
from udp_security.lab.netfilter import restore
from udp_security.lab.topology import Lab

UNKNOWN: Final = 7000  # in no rule
RULES: Final = [
    {"name": "syslog", "direction": "ingress", "ports": [514, "5990-6990"], "from": both(OUTSIDER)},
    {"name": "trap", "direction": "egress", "ports": [162]},
    {"name": "echo", "direction": "forward", "ports": [5000]},
]
ON: Final = {"prefilter": True}
POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "host": {"rules": RULES, "linux": ON},
    "reject": {"rules": RULES, "linux": ON, "denyAction": "reject"},
    "cluster": {"rules": RULES, "linux": {**ON, "scope": "cluster"}},
    "audit": {"rules": RULES, "linux": ON, "mode": "audit"},
}
DROPPED: Final[Counters] = {"denied.prefiltered": 1}
INGRESS: Final[Counters] = {"denied.ingress": 1}
LOCAL: Final = Pair("127.0.0.1", "::1")

ANYWHERE = [
    Row("{v}-ingress", "outsider", "node", UNKNOWN, "denied", DROPPED),
    Row("{v}-forward-in", "outsider", "pod-a", UNKNOWN, "denied", DROPPED),
]
INSIDE = [
    Row("{v}-ingress-from-a-pod", "pod-a", "node", UNKNOWN, "denied", DROPPED),
    Row("{v}-forward-within-the-bridge", "pod-a", "pod-b", UNKNOWN, "denied", DROPPED),
    Row("{v}-forward-out", "pod-a", "outsider", UNKNOWN, "denied", DROPPED),
    Row("{v}-fragments", "pod-a", "node", UNKNOWN, "denied", DROPPED, size=4000),
]
ALLOWED = [
    Row("{v}-egress-and-its-answer", "node", "outsider", 162, "answered", {"r.trap": 2}),
    Row("{v}-masqueraded-and-its-answer", "pod-a", "outsider", 5000, "answered", {"r.echo": 2}),
    Row("{v}-service", "pod-a", ECHO.address, 5000, "answered", {"r.echo": 2}),
    Row("{v}-loopback", "node", LOCAL, UNKNOWN, "answered", target_in="node"),
    Row("{v}-own-address", "node", "node", UNKNOWN, "answered"),
]
TABLES: Final = {
    "host": [
        *ANYWHERE,
        *INSIDE,
        *ALLOWED,
        Row("{v}-ingress-allowed", "outsider", "node", 514, "answered", {"r.syslog": 2}),
        Row("{v}-ingress-from-elsewhere", "remote", "node", 514, "denied", INGRESS),
        Row("{v}-node-port", "outsider", NODES["node"].address, 30053, "answered", {"r.echo": 2}),
        Row("{v}-before-the-range", "outsider", "node", 5989, "denied", DROPPED),
        Row("{v}-range-begins", "remote", "node", 5990, "denied", INGRESS),
        Row("{v}-whole-block-of-the-range", "remote", "node", 6400, "denied", INGRESS),
        Row("{v}-range-ends", "remote", "node", 6990, "denied", INGRESS),
        Row("{v}-behind-the-range", "outsider", "node", 6991, "denied", DROPPED),
        # It may be an answer: the price of a flood from there is the full one.
        Row("{v}-source-port-of-a-rule", "outsider", "node", UNKNOWN, "denied", INGRESS,
            source_port=5000),
        Row("{v}-source-port-in-a-block", "outsider", "node", UNKNOWN, "denied", INGRESS,
            source_port=6400),
    ],
    "reject": [
        *ANYWHERE,
        Row("{v}-known-port", "remote", "node", 514, "rejected", INGRESS),
    ],
    "cluster": [
        *INSIDE,
        *ALLOWED[2:],
        Row("{v}-from-outside", "outsider", "node", UNKNOWN, "answered"),
        Row("{v}-to-outside", "node", "outsider", UNKNOWN, "answered"),
    ],
    "audit": [
        Row("{v}-nothing-is-dropped", "outsider", "node", UNKNOWN, "answered",
            {"denied.ingress": None}),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def governed(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Governed]:
    """One of the policies on the node."""
    with govern(lab, POLICIES[request.param]) as governed:
        yield governed


@each_row_under(TABLES)
def test_flow(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)


def ports_of(ruleset: str) -> set[int]:
    """All ports that a rendered prefilter knows."""

    def elements(name: str) -> list[int]:
        (text,) = re.findall(rf"set g0\.known\.{name} {{\n[^}}]*elements = {{ ([^}}]*) }}", ruleset)
        return [int(word) for word in text.split(", ")]

    blocks = {port for block in elements("blocks") for port in range(block, block + 256)}
    return blocks | set(elements("ports"))


def test_it_knows_every_rules_ports_and_no_others() -> None:
    """Ranges that overlap, touch, lie in each other, and end where blocks do."""
    ranges = [
        (256, 511),
        (700, 1100),
        (1101, 1300),
        (900, 1000),
        (2047, 2304),
        (65279, 65535),
        (1, 1),
    ]
    directions = ("ingress", "egress", "forward")
    rules = [
        {"name": f"r{i}", "direction": directions[i % 3], "ports": [f"{low}-{high}"]}
        for i, (low, high) in enumerate(ranges)
    ] + [{"name": "more", "direction": "ingress", "ports": ["1200-1600", 1601]}]
    values = {
        "presets": NO_PRESETS,
        "dangerouslyCutOff": ALL_LIFELINES,
        "rules": rules,
        "linux": ON,
    }
    known = ports_of(config_data(documents(values))["policy.nft"])
    assert known == {port for low, high in ranges for port in range(low, high + 1)} | set(
        range(1200, 1602)
    )


def under(*policies: str) -> pytest.MarkDecorator:
    """The test runs under these policies."""
    return pytest.mark.parametrize("governed", policies, indirect=True, scope="module")


HOST_PORT: Final = 9100
HOST_ADDRESS: Final = NODES["node"].address


def portmap(family: Family) -> str:
    """The chains of CNI's portmap for one pod."""
    target = PODS["pod-b"][1].of(family)
    target = f"[{target}]" if family == 6 else target
    return f"""*nat
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-DN-0123456789abcdef01234 - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-DNAT -p udp -m comment --comment "dnat name: \\"cbr0\\"" \
-m multiport --dports {HOST_PORT} -j CNI-DN-0123456789abcdef01234
-A CNI-DN-0123456789abcdef01234 -p udp --dport {HOST_PORT} -j DNAT --to-destination {target}:5000
COMMIT
"""


def no_portmap() -> str:
    """Takes them away."""
    return """*nat
-D PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-F CNI-HOSTPORT-DNAT
-F CNI-DN-0123456789abcdef01234
-X CNI-HOSTPORT-DNAT
-X CNI-DN-0123456789abcdef01234
COMMIT
"""


PORTMAP_NFT: Final = f"""
table inet cni_hostport {{
    chain hostports {{
        ip version 4 udp dport {HOST_PORT} dnat ip to {PODS["pod-b"][1].v4}:5000
        ip6 version 6 udp dport {HOST_PORT} dnat ip6 to [{PODS["pod-b"][1].v6}]:5000
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local jump hostports
    }}
}}
"""
KUBE_PROXY_NFT: Final = f"""
table inet kube-proxy {{
    map service-ips {{
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = {{ {HOST_ADDRESS.v4} . udp . {HOST_PORT} : goto service4 }}
    }}
    map service-ips6 {{
        type ipv6_addr . inet_proto . inet_service : verdict
        elements = {{ {HOST_ADDRESS.v6} . udp . {HOST_PORT} : goto service6 }}
    }}
    chain endpoint4 {{
        meta l4proto udp dnat ip to {PODS["pod-b"][1].v4}:5000
    }}
    chain endpoint6 {{
        meta l4proto udp dnat ip6 to [{PODS["pod-b"][1].v6}]:5000
    }}
    chain service4 {{
        numgen random mod 1 vmap {{ 0 : goto endpoint4 }}
    }}
    chain service6 {{
        numgen random mod 1 vmap {{ 0 : goto endpoint6 }}
    }}
    chain services {{
        ip daddr . meta l4proto . th dport vmap @service-ips
        ip6 daddr . meta l4proto . th dport vmap @service-ips6
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        jump services
    }}
}}
"""


@contextlib.contextmanager
def translated(lab: Lab, how: str) -> Iterator[None]:
    """The node's port HOST_PORT leads to pod-b's 5000."""
    if how == "portmap":
        for family in FAMILIES:
            restore(lab.ns("node"), family, portmap(family))
        yield
        for family in FAMILIES:
            restore(lab.ns("node"), family, no_portmap())
    else:
        text, table = {
            "portmap-nftables": (PORTMAP_NFT, "cni_hostport"),
            "kube-proxy-nftables": (KUBE_PROXY_NFT, "kube-proxy"),
        }[how]
        lab.run("node", ["nft", "-f", "-"], stdin=text)
        yield
        lab.run("node", ["nft", "delete", "table", "inet", table])


def wait_exempt(lab: Lab, port: int, exempt: bool) -> None:
    """Until the agent has taken notice that this port is translated, or no longer."""
    deadline = time.monotonic() + 10
    element = f"{{ {port // 64 * 64} }}"
    command = ["nft", "get", "element", "inet", "udp_security", "prefilter.exempt", element]
    while (lab.run("node", command, check=False).returncode == 0) != exempt:
        assert time.monotonic() < deadline, f"port {port}: exempt is not {exempt}"
        time.sleep(0.02)


@under("host")
@pytest.mark.parametrize("how", ["portmap", "portmap-nftables", "kube-proxy-nftables"])
def test_translated_ports_pass(governed: Governed, how: str) -> None:
    """As soon as the agent has seen the rule, and no longer than it is there."""
    lab = governed.lab
    denied = Row("", "outsider", "node", HOST_PORT, "denied", DROPPED)
    for family in FAMILIES:
        denied.check(governed, family)
    with translated(lab, how):
        wait_exempt(lab, HOST_PORT, True)
        for family in FAMILIES:
            address = HOST_ADDRESS.of(family)
            with (
                governed.moves(node={"r.echo": 2}),
                lab.stream(
                    "outsider", address, HOST_PORT, dst_ns="pod-b", listen_port=5000
                ) as flow,
            ):
                assert flow.send(timeout=PATIENCE).replied
    wait_exempt(lab, HOST_PORT, False)
    for family in FAMILIES:
        denied.check(governed, family)


@under("host")
def test_what_is_exempt_stays_exempt(governed: Governed) -> None:
    """Somebody empties the set: the agent fills it again, and an update of it is no heal."""
    lab, pod = governed.lab, governed.pods["node"]
    before = heals(pod, lab)
    with translated(lab, "portmap"):
        wait_exempt(lab, HOST_PORT, True)
        for _ in range(2):
            lab.run("node", ["nft", "flush", "set", "inet", "udp_security", "prefilter.exempt"])
            wait_exempt(lab, HOST_PORT, True)
    wait_exempt(lab, HOST_PORT, False)
    assert check(pod)[0] == 0
    assert heals(pod, lab) == before
