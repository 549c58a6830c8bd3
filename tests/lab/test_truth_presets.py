# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The presets in the truth table: what each lets through, and what is cut when it is off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from tests.lab.table import (
    PATIENCE,
    VXLAN,
    Governed,
    Row,
    both,
    each_family,
    each_row_under,
    govern,
)

from udp_security.lab.addresses import DNS, REMOTE, UPSTREAM_NAME, Family, cluster_values
from udp_security.lab.topology import Lab

# One row for each rule of the presets that are on by default.
ON: Final = {
    "dns": [
        Row("dns-{v}-egress", "node", "outsider", 53, "answered", {"r.preset.dns.egress": 2}),
        Row("dns-{v}-forward", "pod-a", "pod-b", 53, "answered", {"r.preset.dns.forward": 2}),
        Row("dns-{v}-ingress", "remote", "node2", 53, "answered",
            node2={"r.preset.dns.ingress": 2}),
    ],
    "dhcp": [
        Row("dhcp-{v}-renew", "node", "remote", 67, "answered", {"r.preset.dhcp.egress-v4": 2},
            source_port=68, families=(4,)),
        Row("dhcp-{v}-server-speaks-first", "remote", "node2", 68, "answered",
            node2={"r.preset.dhcp.ingress-v4": 2}, source_port=67, families=(4,)),
        Row("dhcp-{v}-renew", "node", "remote", 547, "answered", {"r.preset.dhcp.egress-v6": 2},
            source_port=546, families=(6,)),
        Row("dhcp-{v}-server-speaks-first", "remote", "node2", 546, "answered",
            node2={"r.preset.dhcp.ingress-v6": 2}, source_port=547, families=(6,)),
    ],
    "ntp": [
        Row("ntp-{v}-egress", "node", "outsider", 123, "answered", {"r.preset.ntp.egress": 2}),
    ],
    "flannelVxlan": [
        Row("flannelVxlan-{v}", "pod-a", "pod-c", 5000, "answered", {"r.pods": 2, **VXLAN},
            {"r.pods": 2, **VXLAN}),
    ],
}  # fmt: skip
# What they deny.
BESIDE: Final = [
    Row("dhcp-{v}-pod-asks-outside", "pod-a", "outsider", 67, "denied", {"denied.forward": 1},
        source_port=68),
    Row("dhcp-{v}-node-serves-nobody", "outsider", "node", 67, "denied", {"denied.ingress": 1},
        source_port=68),
    Row("dhcp-{v}-port-of-the-other-family", "node", "remote", 67, "denied", {"denied.egress": 1},
        families=(6,)),
    Row("dhcp-{v}-port-of-the-other-family", "node", "remote", 547, "denied",
        {"denied.egress": 1}, families=(4,)),
    Row("ntp-{v}-node-serves-nobody", "outsider", "node", 123, "denied", {"denied.ingress": 1}),
    Row("ntp-{v}-answer-nobody-asked-for", "outsider", "node", 40123, "denied",
        {"denied.ingress": 1}, source_port=123),
    Row("ntp-{v}-pods-are-not-the-node", "pod-a", "outsider", 123, "denied",
        {"denied.forward": 1}),
]  # fmt: skip
# The same flows where the preset is off.
OFF: Final = {
    "dns": [
        Row("dns-{v}-egress", "node", "outsider", 53, "denied", {"denied.egress": 1}),
        Row("dns-{v}-forward", "pod-a", "pod-b", 53, "denied", {"denied.forward": 1}),
        Row("dns-{v}-ingress", "remote", "node2", 53, "denied", node2={"denied.ingress": 1}),
    ],
    "dhcp": [
        Row("dhcp-{v}-renew", "node", "remote", 67, "denied", {"denied.egress": 1},
            source_port=68, families=(4,)),
        Row("dhcp-{v}-server-speaks-first", "remote", "node2", 68, "denied",
            node2={"denied.ingress": 1}, source_port=67, families=(4,)),
        Row("dhcp-{v}-renew", "node", "remote", 547, "denied", {"denied.egress": 1},
            source_port=546, families=(6,)),
        Row("dhcp-{v}-server-speaks-first", "remote", "node2", 546, "denied",
            node2={"denied.ingress": 1}, source_port=547, families=(6,)),
    ],
    "ntp": [Row("ntp-{v}-egress", "node", "outsider", 123, "denied", {"denied.egress": 1})],
    # Enforcing would be refused where there is such a device: audit counts what it would cut.
    "flannelVxlan": [
        Row("flannelVxlan-{v}", "pod-a", "pod-c", 5000, "answered",
            {"r.pods": 2, "denied.egress": 1, "denied.ingress": 1},
            {"r.pods": 2, "denied.egress": 1, "denied.ingress": 1}),
    ],
}  # fmt: skip
OPTIONAL: Final = {"windowsDomain": (88, 389, 464, 137, 138), "vpn": (500, 4500), "quic": (443,)}

_PODS: Final = {"name": "pods", "direction": "forward", "ports": [5000]}
POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "default": {"rules": [_PODS]},
    "optional": {"presets": dict.fromkeys(OPTIONAL, True)},
    "dns-servers": {"cluster": {**cluster_values(), "dnsServers": both(REMOTE)}},
    **{
        f"no-{preset}": {
            "mode": "audit" if preset == "flannelVxlan" else "enforce",
            "presets": {preset: False},
            "dangerouslyCutOff": [] if preset == "ntp" else [preset],
            "rules": [_PODS],
        }
        for preset in OFF
    },
}
TABLES: Final = {
    "default": [
        *(row for rows in ON.values() for row in rows),
        *BESIDE,
        *(Row(f"{preset}-{{v}}-{port}", "node", "outsider", port, "denied", {"denied.egress": 1})
          for preset, ports in OPTIONAL.items() for port in ports),
    ],
    "optional": [
        *(Row(f"{preset}-{{v}}-{port}", "node", "outsider", port, "answered",
              {f"r.preset.{preset}.egress": 2})
          for preset, ports in OPTIONAL.items() for port in ports),
        *(Row(f"windowsDomain-{{v}}-{port}", "node", "outsider", port, "denied",
              {"denied.egress": 1}) for port in (136, 139)),
        *(Row(f"{preset}-{{v}}-node-serves-nobody", "outsider", "node", ports[0], "denied",
              {"denied.ingress": 1}) for preset, ports in OPTIONAL.items()),
    ],
    "dns-servers": [
        Row("node-{v}-asks-anybody", "node", "outsider", 53, "denied", {"denied.egress": 1}),
        Row("pod-{v}-asks-anybody", "pod-a", "outsider", 53, "denied", {"denied.forward": 1}),
        Row("pod-{v}-asks-pod", "pod-a", "pod-b", 53, "answered", {"r.preset.dns.forward": 2}),
    ],
    **{
        f"no-{preset}": [
            *OFF[preset],
            *(row for other, rows in ON.items() if other != preset for row in rows
              if preset != "flannelVxlan"),
        ]
        for preset in OFF
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def governed(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Governed]:
    """One of the policies on both nodes."""
    with govern(lab, POLICIES[request.param], "node", "node2") as both_nodes:
        yield both_nodes


@each_row_under(TABLES)
def test_flow(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)


@pytest.mark.parametrize("governed", ["dns-servers"], indirect=True)
@each_family
def test_named_servers_answer(governed: Governed, family: Family) -> None:
    """The whole chain up to the server that cluster.dnsServers names."""
    moved = {"r.preset.dns.forward": 2, "r.preset.dns.ingress": 2, "r.preset.dns.egress": 2}
    with governed.moves(node=moved):
        server = DNS.address.of(family)
        assert governed.lab.dns_query("pod-a", server, UPSTREAM_NAME, timeout=PATIENCE)
