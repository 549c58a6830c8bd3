# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Hypothesis strategies for values that the schema takes, right and wrong ones close together."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

# Few of each, so that rules meet: the same networks, one within another, with and without host
# bits, IPv4-mapped, the cluster's own.
ADDRESSES = st.sampled_from(
    [
        "0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "10.1.2.3/32", "10.1.2.3/16",
        "1.2.3.4/0", "172.20.0.0/16", "172.20.1.0/24", "172.21.0.0/16", "172.21.0.10",
        "172.16.0.0/12", "172.19.1.0/24", "172.19.1.100", "255.255.255.255", "0.0.0.0/1",
        "128.0.0.0/1", "::/0", "fd00::/8", "FD00:0::/8", "fd00::1", "fd00::1/64",
        "fd00:0:0:1::/64", "::1", "ffff::/16", "::ffff:a01:203", "::ffff:0:0/96",
        "::ffff:102:304/64", "1:0:0:2:0:0:0:3", "1::2:3:4:5:6:7/127",
    ]
)  # fmt: skip
ADDRESS_LISTS = st.lists(ADDRESSES, min_size=1, max_size=4)
EDGES = st.sampled_from([1, 2, 52, 53, 54, 67, 68, 1000, 4789, 8472, 65534, 65535])
PORTS = st.one_of(
    EDGES,
    EDGES.map(str),
    st.tuples(EDGES, EDGES).map(lambda ends: f"{ends[0]}-{ends[1]}"),
)
SYSTEMS = st.sampled_from([["linux"], ["windows"], ["linux", "windows"], ["windows", "linux"]])


def rules() -> st.SearchStrategy[dict[str, Any]]:
    """One rule; names repeat."""
    return st.fixed_dictionaries(
        {
            "name": st.sampled_from(["a", "b", "g0", "policy", "x-1"]),
            "direction": st.sampled_from(["ingress", "egress", "forward"]),
            "ports": st.lists(PORTS, min_size=1, max_size=4),
        },
        optional={"from": ADDRESS_LISTS, "to": ADDRESS_LISTS, "os": SYSTEMS},
    )


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    """A user's values: some presets off, other clusters, lifelines cut with and without leave."""
    presets = ["dns", "dhcp", "ntp", "flannelVxlan", "windowsDomain", "vpn", "quic"]
    cluster = ["podCIDRs", "serviceCIDRs", "nodeCIDRs", "dnsServers"]
    cut = st.lists(st.sampled_from(["dns", "dhcp", "flannelVxlan"]), unique=True)
    return {
        "presets": draw(st.dictionaries(st.sampled_from(presets), st.booleans(), max_size=4)),
        "cluster": draw(st.dictionaries(st.sampled_from(cluster), ADDRESS_LISTS, max_size=2)),
        "rules": draw(st.lists(rules(), max_size=4)),
        "dangerouslyCutOff": draw(st.one_of(st.just([]), cut)),
        "linux": {"enabled": draw(st.sampled_from([True, True, True, False]))},
        "windows": {"enabled": draw(st.sampled_from([True, True, False]))},
    }
