# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Where the packets run: a node with the shortest ways through its hooks.

    outsider 10.77.0.2 -- eth1 node eth0 172.19.1.100 -- remote 172.19.1.1
                               cni0 172.20.0.1: pod-a, pod-b

The node tracks connections and carries kube-proxy's and flannel's rules. Every way ends in a rule
that drops: no process receives anything. On shorter ways than the lab's, what a firewall adds is a
larger part.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from udp_security.bench import source
from udp_security.bench.source import PORT, Source, Sources
from udp_security.lab import netfilter, tools
from udp_security.lab.addresses import FAMILIES, NODES, OUTSIDE_NET, OUTSIDER, PODS, REMOTE
from udp_security.lab.netns import Namespace
from udp_security.lab.topology import Lab

DENIED_PORT: Final = PORT + 1000
"""A destination port that no policy of the benchmark allows."""

_NODE: Final = NODES["node"]


@dataclass(frozen=True)
class Route:
    """One way of packets: where it begins, its destination, and the namespace that swallows it."""

    name: str
    start: str
    destination: str
    end: str


INPUT: Final = Route("input", "outsider", _NODE.address.v4, "node")
FORWARD: Final = Route("forward", "outsider", REMOTE.v4, "remote")
POD: Final = Route("pod", "pod-a", REMOTE.v4, "remote")
BRIDGE: Final = Route("bridge", "pod-a", PODS["pod-b"][1].v4, "pod-b")
ROUTES: Final = (INPUT, FORWARD, POD, BRIDGE)
"""To the node; through it; from a pod to elsewhere, masqueraded; from pod to pod on one bridge."""

# Swallows at once elsewhere, and on the node behind everything: also behind the hook in which
# conntrack confirms an entry, or every packet would be a flow's first. Of two hooks with one
# priority the kernel calls the younger one first, so this one must be there before conntrack is.
_SINK: Final = f"""table inet sink {{
    counter arrived {{ }}
    counter leaked {{ }}
    chain sink {{
        type filter hook HOOK
        udp dport {PORT} counter name arrived drop
        udp dport {DENIED_PORT} counter name leaked drop
    }}
}}
"""
_LAST: Final = f"input priority {2**31 - 1};"
_FIRST: Final = "prerouting priority raw;"

# What kubelet and kube-proxy keep in INPUT; the lab's tests need none of it.
_INPUT_RULES: Final = """*filter
:KUBE-FIREWALL - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
-A INPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL
-A INPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
COMMIT
"""


class Track(Lab):
    """The lab with other links: namespaces outsider, remote, node, pod-a and pod-b, and the
    compiled packet source."""

    def __init__(self) -> None:
        super().__init__()
        self._program = source.compiled(self.directory)

    def __enter__(self) -> Track:
        super().__enter__()
        return self

    def nft(self, text: str) -> None:
        """Load text on the node, as one transaction."""
        self.run("node", ["nft", "-f", "-"], stdin=text)

    @contextlib.contextmanager
    def source(
        self, route: Route, *, port: int = PORT, sources: Sources = "fixed"
    ) -> Iterator[Source]:
        """A packet source at the start of a route."""
        with source.source(
            self._program,
            self.ns(route.start),
            route.destination,
            port=port,
            sources=sources,
        ) as started:
            yield started

    def arrived(self, route: Route) -> int:
        """Packets to PORT that have reached the end of the route so far."""
        return self._counters(route)["arrived"]

    def leaked(self, route: Route) -> int:
        """Packets to DENIED_PORT that have reached the end of the route so far."""
        return self._counters(route)["leaked"]

    def add_others_rules(self) -> None:
        """What a node has before any firewall comes."""
        self.run("node", ["nft", "-f", "-"], stdin=_SINK.replace("HOOK", _LAST))
        for family in FAMILIES:
            rules = netfilter.kube_proxy(family) + netfilter.flannel(family, "node")
            netfilter.restore(self.ns("node"), family, rules + _INPUT_RULES)

    def _counters(self, route: Route) -> dict[str, int]:
        listing = self.run(route.end, ["nft", "-j", "list", "counters", "table", "inet", "sink"])
        return {
            entry["counter"]["name"]: int(entry["counter"]["packets"])
            for entry in json.loads(listing.stdout)["nftables"]
            if "counter" in entry
        }

    def _build(self) -> None:
        devices = {"outsider": "eth1", "remote": "eth0", "pod-a": "veth-a", "pod-b": "veth-b"}
        for name in ("node", *devices):
            self._namespaces[name] = Namespace(self._prefix + name)
            for scope in ("all", "default"):
                self.ns(name).sysctl({f"net/ipv4/conf/{scope}/rp_filter": 0})
        tools.run(
            ["ip", "-batch", "-"],
            stdin="".join(
                f"link add {device} netns {self._prefix}node type veth"
                f" peer name eth0 netns {self._prefix}{name}\n"
                for name, device in devices.items()
            ),
        )
        node = self.ns("node")
        node.sysctl({"net/ipv4/ip_forward": 1})
        node.ip(
            "link add cni0 type bridge mcast_snooping 0",
            *(f"link set {device} master cni0" for device in ("veth-a", "veth-b")),
            *(f"link set {device} up" for device in ("cni0", *devices.values())),
            f"address add {_NODE.address.v4}/24 dev eth0",
            f"address add {_NODE.bridge.v4}/24 dev cni0",
            f"route add {OUTSIDE_NET.v4} dev eth1 src {_NODE.address.v4}",
        )
        for name, address, gateway in (
            ("outsider", OUTSIDER.v4, _NODE.address.v4),
            ("remote", REMOTE.v4, _NODE.address.v4),
            ("pod-a", PODS["pod-a"][1].v4, _NODE.bridge.v4),
            ("pod-b", PODS["pod-b"][1].v4, _NODE.bridge.v4),
        ):
            self.ns(name).ip(
                f"address add {address}/24 dev eth0",
                "link set eth0 up",
                f"route add default via {gateway} dev eth0 onlink",
            )
        node.sysctl({"net/bridge/bridge-nf-call-iptables": 1})
        self.add_others_rules()
        for name in ("remote", "pod-b"):
            self.run(name, ["nft", "-f", "-"], stdin=_SINK.replace("HOOK", _FIRST))
