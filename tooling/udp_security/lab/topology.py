# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The lab itself: a two-node K2s-like cluster, the host it hangs on, and an outsider.

    outsider 10.77.0.2 -- remote 172.19.1.1 (the host: bridge, router, upstream DNS)
                            |-- node  172.19.1.100  cni0 172.20.0.1: dns, pod-a, pod-b
                            |-- node2 172.19.1.101  cni0 172.20.2.1: pod-c

All dual stack (``addresses``). Pod traffic between the nodes goes through flannel's VXLAN devices;
both nodes carry flannel's and kube-proxy's rules. dnsmasq serves DNS in the dns pod (as CoreDNS
does), on node and on remote; the first forwards to the second, the second to the third.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from udp_security.lab import addresses, netfilter, probes, sandbox, tools
from udp_security.lab.addresses import FAMILIES, NODES, PODS, Family, Pair
from udp_security.lab.errors import LabError
from udp_security.lab.netns import Namespace
from udp_security.lab.probes import Outcome, Stream

_TOOLS: Final = (
    "ip", "nft", "iptables-nft", "ip6tables-nft", "iptables-nft-restore", "ip6tables-nft-restore",
    "dnsmasq", "nsenter", "setpriv",
)  # fmt: skip
_IPV6_MTU: Final = 1280
_MTU_INSIDE: Final = 1450  # what VXLAN over 1500 leaves, as flannel sets it
_labs = itertools.count(1)


class Lab:
    """Context manager: builds everything on entry, waits until packets flow, removes it on exit.

    Namespaces are named by what they are ("node", "pod-a", ...); every method takes these names.
    Several labs can exist in one process.
    """

    def __init__(self) -> None:
        sandbox.enter()
        tools.require(_TOOLS)
        self._prefix = f"lab{next(_labs)}-"
        self._namespaces: dict[str, Namespace] = {}
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._cleanup = contextlib.ExitStack()
        self.directory = Path(tempfile.mkdtemp(prefix=self._prefix, dir=sandbox.STATE))

    def __enter__(self) -> Lab:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what runs in the lab and remove its namespaces. Safe to call twice."""
        try:
            self._cleanup.close()
        finally:
            for daemon in self._daemons:
                daemon.kill()
            for daemon in self._daemons:
                daemon.wait()
            self._daemons.clear()
            for namespace in self._namespaces.values():
                namespace.delete()
            self._namespaces.clear()

    def on_close(self, function: Callable[[], object]) -> None:
        """Call this before the namespaces go; the last one given is called first."""
        self._cleanup.callback(function)

    def ns(self, name: str) -> Namespace:
        """The namespace of this name. LabError with the names there are."""
        if name not in self._namespaces:
            raise LabError(
                f"no namespace '{name}' in the lab", f"there are: {', '.join(self._namespaces)}"
            )
        return self._namespaces[name]

    def address(self, name: str, family: Family = 4) -> str:
        """The main address of a namespace."""
        return addresses.ADDRESSES[name][0].of(family)

    def run(
        self, name: str, command: Sequence[str], *, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the host's tools in a namespace, output captured. LabError when it fails."""
        return self.ns(name).run(command, stdin=stdin, check=check)

    def probe(
        self,
        src_ns: str,
        dst_addr: str,
        port: int,
        *,
        src_addr: str | None = None,
        src_port: int = 0,
        dst_ns: str | None = None,
        listen_port: int | None = None,
        reply: bool = True,
        size: int = 32,
        timeout: float = 0.25,
    ) -> Outcome:
        """Send one UDP request to a listener and, with ``reply``, its answer back.

        Who listens is worked out for addresses of the lab, its services and node ports; else say
        ``dst_ns`` and, where DNAT changes the port, ``listen_port``. ``size`` is the payload in
        bytes, ``timeout`` seconds are given to each way.
        """
        with self.stream(
            src_ns, dst_addr, port,
            src_addr=src_addr, src_port=src_port, dst_ns=dst_ns, listen_port=listen_port,
        ) as stream:  # fmt: skip
            return stream.send(reply=reply, size=size, timeout=timeout)

    def stream(
        self,
        src_ns: str,
        dst_addr: str,
        port: int,
        *,
        src_addr: str | None = None,
        src_port: int = 0,
        dst_ns: str | None = None,
        listen_port: int | None = None,
    ) -> Stream:
        """A flow to send on repeatedly; arguments as for ``probe``."""
        where, listen = self._listener(dst_addr, port, dst_ns, listen_port)
        return Stream(
            self.ns(src_ns), self.ns(where), dst_addr, port,
            listen_port=listen, source_address=src_addr, source_port=src_port,
        )  # fmt: skip

    def tcp(
        self,
        src_ns: str,
        dst_addr: str,
        port: int,
        *,
        dst_ns: str | None = None,
        listen_port: int | None = None,
        timeout: float = 1.0,
    ) -> Outcome:
        """A TCP connection with one request and its answer; arguments as for ``probe``."""
        where, listen = self._listener(dst_addr, port, dst_ns, listen_port)
        return probes.tcp(
            self.ns(src_ns), self.ns(where), dst_addr, port, listen_port=listen, timeout=timeout
        )

    def ping(self, src_ns: str, dst_addr: str, *, size: int = 32, timeout: float = 0.5) -> bool:
        """An ICMP echo: did the answer come back?"""
        return probes.ping(self.ns(src_ns), dst_addr, size=size, timeout=timeout)

    def dns_query(
        self,
        src_ns: str,
        server: str,
        name: str,
        *,
        family: Family = 4,
        src_addr: str | None = None,
        src_port: int = 0,
        timeout: float = 0.5,
    ) -> list[str] | None:
        """Ask a DNS server for a name's addresses; None when no answer came."""
        return probes.dns_query(
            self.ns(src_ns), server, name,
            family=family, source_address=src_addr, source_port=src_port, timeout=timeout,
        )  # fmt: skip

    def flannel_restart(self, node: str = "node") -> None:
        """Flannel takes its rules away and appends them again, now behind what came meanwhile."""
        for family in FAMILIES:
            netfilter.restore(self.ns(node), family, netfilter.remove_flannel(family))
            netfilter.restore(self.ns(node), family, netfilter.flannel(family, node))

    def iptables_flush(self, node: str = "node") -> None:
        """`iptables -F` and `ip6tables -F`: the filter table loses its rules, chains stay."""
        for tool in ("iptables-nft", "ip6tables-nft"):
            self.run(node, [tool, "-F"])

    def _listener(
        self, address: str, port: int, dst_ns: str | None, listen_port: int | None
    ) -> tuple[str, int]:
        """Namespace and port where a packet to this address and port ends."""
        if dst_ns is not None:
            return dst_ns, listen_port or port
        for service in addresses.SERVICES:
            service_address = address in (service.address.v4, service.address.v6)
            if service_address and port == service.port:
                return service.pod, service.target_port
            node_address = any(_has(NODES[node].address, address) for node in NODES)
            if node_address and port == service.node_port:
                return service.pod, service.target_port
        for name, pairs in addresses.ADDRESSES.items():
            if any(_has(pair, address) for pair in pairs):
                return name, listen_port or port
        raise LabError(f"nobody in the lab has address {address}", "say dst_ns")

    def _build(self) -> None:
        if not Path("/proc/sys/net/ipv6").exists():
            raise LabError("the kernel has no IPv6", "boot without ipv6.disable=1")
        for name in addresses.ADDRESSES:
            self._namespaces[name] = Namespace(self._prefix + name)
        for name, namespace in self._namespaces.items():
            namespace.sysctl(_settings(router=name in NODES or name == "remote"))
        self._cable()
        self._configure_remote()
        for name in NODES:
            self._configure_node(name)
        for name, (node, pair) in PODS.items():
            self._configure_pod(name, NODES[node].bridge, pair)
        for name in (*PODS, "outsider"):
            # What fits every path: discovering its MTU costs a packet, and a probe is one packet.
            self.ns(name).sysctl({"net/ipv6/conf/eth0/mtu": _IPV6_MTU})
        self._filter_bridges()
        for node in NODES:
            for family in FAMILIES:
                rules = netfilter.kube_proxy(family) + netfilter.flannel(family, node)
                netfilter.restore(self.ns(node), family, rules)
        self._serve_dns()
        self._settle()

    def _cable(self) -> None:
        """One veth pair for every link."""
        pairs = [("remote", "to-node", "node", "eth0"), ("remote", "to-node2", "node2", "eth0"),
                 ("remote", "to-outside", "outsider", "eth0")]  # fmt: skip
        pairs += [(node, f"veth-{pod}", pod, "eth0") for pod, (node, _) in PODS.items()]
        tools.run(
            ["ip", "-batch", "-"],
            stdin="".join(
                f"link add {here} netns {self._prefix}{a} type veth"
                f" peer name {there} netns {self._prefix}{b}\n"
                for a, here, b, there in pairs
            ),
        )

    def _configure_remote(self) -> None:
        lines = ["link add lan type bridge mcast_snooping 0"]
        lines += [f"link set to-{node} master lan" for node in NODES]
        lines += [
            f"link set {device} up" for device in ("lan", "to-node", "to-node2", "to-outside")
        ]
        lines += [
            *_assign("lan", addresses.REMOTE, 24, 64),
            *_assign("to-outside", addresses.REMOTE_OUTSIDE, 24, 64),
        ]
        for node in NODES.values():
            for family in FAMILIES:
                fit = f" mtu {_IPV6_MTU}" if family == 6 else ""
                lines.append(f"route add {node.pods.of(family)} via {node.address.of(family)}{fit}")
        for family in FAMILIES:
            via = NODES["node"].address.of(family)
            lines.append(f"route add {addresses.SERVICE_NET.of(family)} via {via}")
        self.ns("remote").ip(*lines)
        self.ns("outsider").ip(
            "link set eth0 up",
            *_assign("eth0", addresses.OUTSIDER, 24, 64),
            *_default_routes(addresses.REMOTE_OUTSIDE),
        )

    def _configure_node(self, name: str) -> None:
        own = NODES[name]
        lines = [
            "link add cni0 type bridge mcast_snooping 0",
            f"link set cni0 mtu {_MTU_INSIDE} up",
            "link set eth0 up",
            *_assign("eth0", own.address, 24, 64),
            *_assign("cni0", own.bridge, 24, 64),
            *_default_routes(addresses.REMOTE),
        ]
        for pod, (node, _) in PODS.items():
            if node == name:
                device = f"veth-{pod}"
                lines += [
                    f"link set {device} mtu {_MTU_INSIDE} master cni0",
                    f"link set {device} type bridge_slave hairpin on",
                    f"link set {device} up",
                ]
        for family, device, mac in (
            (4, "flannel.1", own.flannel_mac),
            (6, "flannel-v6.1", own.flannel6_mac),
        ):
            prefix = 32 if family == 4 else 128
            # Over IPv6 the outer header is 20 bytes longer: flannel sets 1430 there.
            mtu = _MTU_INSIDE if family == 4 else _MTU_INSIDE - 20
            lines += [
                f"link add {device} address {mac} mtu {mtu} type vxlan id 1"
                f" local {own.address.v4 if family == 4 else own.address.v6}"
                " dev eth0 dstport 8472 nolearning",
                f"link set {device} up",
                f"address add {own.flannel.v4 if family == 4 else own.flannel.v6}/{prefix}"
                f" dev {device}",
            ]
        for other, peer in NODES.items():
            if other != name:
                lines += [
                    f"neighbor add {peer.flannel.v4} lladdr {peer.flannel_mac} dev flannel.1"
                    " nud permanent",
                    f"route add {peer.pods.v4} via {peer.flannel.v4} dev flannel.1 onlink",
                    f"neighbor add {peer.flannel.v6} lladdr {peer.flannel6_mac} dev flannel-v6.1"
                    " nud permanent",
                    f"route add {peer.pods.v6} via {peer.flannel.v6} dev flannel-v6.1 onlink",
                ]
        self.ns(name).ip(*lines)
        forwarding = []
        for other, peer in NODES.items():
            if other != name:
                forwarding += [
                    f"fdb append {peer.flannel_mac} dev flannel.1 dst {peer.address.v4}",
                    f"fdb append {peer.flannel6_mac} dev flannel-v6.1 dst {peer.address.v6}",
                ]
        self.run(name, ["bridge", "-batch", "-"], stdin="\n".join(forwarding) + "\n")

    def _configure_pod(self, name: str, gateway: Pair, own: Pair) -> None:
        self.ns(name).ip(
            f"link set eth0 mtu {_MTU_INSIDE} up",
            *_assign("eth0", own, 24, 64),
            *_default_routes(gateway),
        )

    def _filter_bridges(self) -> None:
        """Bridged packets pass the nodes' netfilter hooks, as K2s sets it, and not the host's."""
        for name in (*NODES, "remote"):
            value = int(name in NODES)
            try:
                self.ns(name).sysctl(
                    {
                        "net/bridge/bridge-nf-call-iptables": value,
                        "net/bridge/bridge-nf-call-ip6tables": value,
                    }
                )
            except LabError as error:
                raise LabError(
                    "the kernel module br_netfilter is not loaded",
                    "load it: sudo modprobe br_netfilter",
                ) from error

    def _serve_dns(self) -> None:
        bridge, remote = NODES["node"].bridge, addresses.REMOTE
        self._dnsmasq("dns", bridge.v4, addresses.CLUSTER_NAME, PODS["pod-b"][1])
        self._dnsmasq("node", remote.v4, addresses.NODE_NAME, NODES["node"].address)
        self._dnsmasq("remote", None, addresses.UPSTREAM_NAME, addresses.OUTSIDER)

    def _dnsmasq(self, name: str, upstream: str | None, host: str, answer: Pair) -> None:
        """A DNS server on all addresses of a namespace but flannel's, with one name of its own."""
        own = [pair for pair in addresses.ADDRESSES[name] if pair != NODES["node"].flannel]
        listen = ["127.0.0.1", "::1", *(pair.of(family) for pair in own for family in FAMILIES)]
        command = [
            "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=",
            "--user=root", "--group=", "--no-resolv", "--no-hosts", "--cache-size=0",
            "--bind-interfaces", "--log-facility=-",
            *(f"--listen-address={address}" for address in listen),
            *(f"--address=/{host}/{answer.of(family)}" for family in FAMILIES),
        ]  # fmt: skip
        if upstream is not None:
            command.append(f"--server={upstream}")
        with (self.directory / f"dnsmasq-{name}.log").open("wb") as output:
            self._daemons.append(self.ns(name).start(command, output))

    def _settle(self, timeout: float = 5.0) -> None:
        """Wait until every neighbour is known and DNS answers: probes then need no second try."""
        deadline = time.monotonic() + timeout
        pairs = [(pod, "remote") for pod in PODS] + [("remote", pod) for pod in PODS]
        pairs += [("pod-a", "pod-b"), ("pod-b", "dns"), ("pod-a", "pod-c"), ("pod-c", "node"),
                  ("pod-c", "dns"), ("node", "node2"), ("outsider", "node"), ("outsider", "node2"),
                  ("pod-a", "dns"), ("node", "pod-c"), ("node2", "pod-a")]  # fmt: skip
        for source, target in pairs:
            for family in FAMILIES:
                while not self.ping(source, self.address(target, family), timeout=0.1):
                    if time.monotonic() > deadline:
                        raise LabError(f"{source} does not reach {target} over IPv{family}")
        for family in FAMILIES:
            for name in (addresses.CLUSTER_NAME, addresses.UPSTREAM_NAME):
                server = addresses.DNS.address.of(family)
                while not self.dns_query("pod-a", server, name, timeout=0.1):
                    if time.monotonic() > deadline:
                        raise LabError(
                            f"the DNS server at {server} does not answer: {self._said()}"
                        )
                    time.sleep(0.01)

    def _said(self) -> str:
        logs = sorted(self.directory.glob("dnsmasq-*.log"))
        return " ".join(log.read_text(errors="replace").strip() for log in logs) or "no output"


def _settings(*, router: bool) -> dict[str, int | str]:
    """Sysctls of a namespace, set before it has devices: these become their defaults."""
    settings: dict[str, int | str] = {"net/ipv4/ping_group_range": "0 0"}
    if router:
        settings["net/ipv4/ip_forward"] = 1
        settings["net/ipv6/conf/all/forwarding"] = 1
    for scope in ("all", "default"):
        settings[f"net/ipv4/conf/{scope}/rp_filter"] = 0
        settings[f"net/ipv4/conf/{scope}/send_redirects"] = 0
        settings[f"net/ipv6/conf/{scope}/disable_ipv6"] = 0
        # Addresses are usable at once, and nobody asks for routers.
        settings[f"net/ipv6/conf/{scope}/accept_dad"] = 0
        settings[f"net/ipv6/conf/{scope}/accept_ra"] = 0
    return settings


def _assign(device: str, pair: Pair, prefix4: int, prefix6: int) -> list[str]:
    return [
        f"address add {pair.v4}/{prefix4} dev {device}",
        f"address add {pair.v6}/{prefix6} dev {device} nodad",
    ]


def _default_routes(gateway: Pair) -> list[str]:
    return [f"route add default via {gateway.v4}", f"route add ::/0 via {gateway.v6}"]


def _has(pair: Pair, address: str) -> bool:
    return address in (pair.v4, pair.v6)
