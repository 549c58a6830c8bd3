# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""One node between two wires on which any address can be sent: for holding a ruleset to the oracle.

    left --in0---- node ----right0-- right
         --fwd0---

The node routes by interface, not by address, so no address needs to be assigned to anybody: all
that comes in by in0 is local (`ip route add local 0.0.0.0/0` in a table of its own: AnyIP), all
from fwd0 goes out by right0 and back, all that the node sends bound to in0 leaves by in0.

    ingress   left sends on in0 (AF_PACKET, a whole frame); a raw UDP socket on the node, behind the
              input hook, sees it
    forward   left sends on fwd0; AF_PACKET on right sees it
    egress    the node sends from a raw socket (the output hook sees it); AF_PACKET on left sees it

Answers take the same way back with addresses and ports swapped. Every packet carries a number of
its own, so that delivery is known packet by packet, and every request has a fresh source port, so
that no two share a conntrack entry (when the ports run out, conntrack is flushed). Behind each few
dozen packets goes one of another IP protocol, which the policy does not touch: the thread stays on
one CPU meanwhile, and queues are first in, first out, so once that one arrived, what is missing was
dropped. Nothing waits for a timeout.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import select
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Protocol

from udp_security.lab import packets, sandbox, tools
from udp_security.lab.errors import LabError
from udp_security.lab.netns import Namespace
from udp_security.lab.packets import Address

_ETH_P_ALL: Final = 0x0003
_PACKET_OUTGOING: Final = 4
_MARK: Final = b"udpsec"
_CHUNK: Final = 48  # what fits the kernel's default receive buffer, with room to spare
_FIRST_PORT: Final = 20_000
_PORTS: Final = 40_000
_TIMEOUT: Final = 5.0
_JOINED: Final = ("ff02::1:2", "ff05::1:3")  # DHCPv6's groups
_wires = itertools.count(1)


class FlowLike(Protocol):
    """What is sent: `policy.Flow` has this shape."""

    @property
    def direction(self) -> str:
        """ingress, egress or forward."""

    @property
    def source(self) -> Address:
        """Where the request comes from."""

    @property
    def destination(self) -> Address:
        """Where it goes."""

    @property
    def port(self) -> int:
        """Its destination port."""


@dataclass(frozen=True)
class Fate:
    """What became of a request and, if it was asked for and the request arrived, of its answer.

    ``source_port`` is the one that the request was sent from.
    """

    delivered: bool
    replied: bool
    source_port: int = field(default=0, compare=False)


@dataclass(frozen=True)
class _Parcel:
    """A packet to send and the number in it."""

    number: int
    source: Address
    source_port: int
    destination: Address
    port: int

    def bytes(self) -> bytes:
        payload = _MARK + struct.pack(">Q", self.number)
        return packets.udp(self.source, self.source_port, self.destination, self.port, payload)

    def answer(self, number: int, seen: FlowLike) -> _Parcel:
        return _Parcel(number, seen.destination, seen.port, seen.source, self.source_port)


class Wire:
    """Context manager; load rules into ``node``, then ``send``."""

    def __init__(self) -> None:
        sandbox.enter()
        tools.require(("ip", "nft", "nsenter"))
        self._prefix = f"wire{next(_wires)}-"
        self._namespaces: dict[str, Namespace] = {}
        self._sockets: list[socket.socket] = []
        self._numbers = itertools.count(1)
        self._used_ports = 0

    def __enter__(self) -> Wire:
        try:
            for name in ("node", "left", "right"):
                self._namespaces[name] = Namespace(self._prefix + name)
            self._configure()
            self._open()
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
        """Remove everything. Safe to call twice."""
        for end in self._sockets:
            end.close()
        self._sockets.clear()
        for namespace in self._namespaces.values():
            namespace.delete()
        self._namespaces.clear()

    @property
    def node(self) -> Namespace:
        """The node's namespace."""
        return self._namespaces["node"]

    def run(
        self, command: Sequence[str], *, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a tool on the node, as ``Namespace.run``."""
        return self.node.run(command, stdin=stdin, check=check)

    @staticmethod
    def carries(flow: FlowLike) -> bool:
        """Whether the kernel itself lets this flow exist: it drops, or rewrites, impossible
        addresses (loopback, unspecified, multicast where nobody listens) before or without asking a
        ruleset."""
        source, destination = flow.source, flow.destination
        if source.version != destination.version or not 0 < flow.port < 65_536:
            return False
        if any(address.is_loopback or address.is_unspecified for address in (source, destination)):
            return False
        if source.is_multicast or _is_broadcast(source):
            return False
        if isinstance(source, ipaddress.IPv6Address) and _mapped(source, destination):
            return False
        if flow.direction == "forward":
            local = source.version == 6 and (source.is_link_local or destination.is_link_local)
            return not (local or destination.is_multicast or _is_broadcast(destination))
        if destination.is_multicast and flow.direction == "ingress":
            return str(destination) in _JOINED
        # Multicast of scope 0 and 1 does not leave the host.
        narrow = destination.version == 6 and destination.packed[1] & 15 < 2
        return not (destination.is_multicast and narrow)

    def send(
        self,
        flows: Sequence[FlowLike],
        *,
        replies: bool = False,
        translated: Sequence[FlowLike] | None = None,
        ports: Sequence[int] | None = None,
    ) -> list[Fate]:
        """Send one request for each flow; with ``replies`` every request that arrived is answered.

        ``translated`` are the flows as the node's NAT leaves them: an answer comes from and goes to
        the addresses that the answerer sees. ``ports`` are the source ports that an earlier call
        told of the same flows, to send more of their packets. Returns the fates in the order of
        ``flows``. LabError for flows that ``carries`` refuses, and for more than 40,000 at once.
        """
        if len(flows) > _PORTS:
            raise LabError(f"at most {_PORTS} flows at once, not {len(flows)}")
        for flow in flows:
            if not self.carries(flow):
                raise LabError(f"the kernel does not carry {flow}: ask carries() first")
        parcels = [
            _Parcel(next(self._numbers), flow.source, port, flow.destination, flow.port)
            for flow, port in zip(flows, ports or self._new_ports(len(flows)), strict=True)
        ]
        ways = [flow.direction for flow in flows]
        delivered = self._exchange(ways, parcels)
        answers: dict[int, int] = {}
        if replies:
            back, back_parcels = [], []
            for way, parcel, seen in zip(ways, parcels, translated or flows, strict=True):
                # Groups and broadcasts are answered from an address of the answerer's own.
                if parcel.number in delivered and not (
                    seen.destination.is_multicast or _is_broadcast(seen.destination)
                ):
                    answer = parcel.answer(next(self._numbers), seen)
                    answers[parcel.number] = answer.number
                    back.append(f"{way} reply")
                    back_parcels.append(answer)
            replied = self._exchange(back, back_parcels)
        return [
            Fate(
                parcel.number in delivered,
                replies and answers.get(parcel.number) in replied,
                parcel.source_port,
            )
            for parcel in parcels
        ]

    def _new_ports(self, number: int) -> range:
        """Source ports of flows that conntrack does not know."""
        if self._used_ports + number > _PORTS:
            self.node.flush_conntrack()
            self._used_ports = 0
        first = _FIRST_PORT + self._used_ports
        self._used_ports += number
        return range(first, first + number)

    def _exchange(self, ways: Sequence[str], parcels: Sequence[_Parcel]) -> set[int]:
        """Send, wait for the packets behind them, return the numbers that arrived."""
        arrived: set[tuple[int, str]] = set()
        with _one_cpu():
            for start in range(0, len(parcels), _CHUNK):
                chunk = range(start, min(start + _CHUNK, len(parcels)))
                for i in chunk:
                    self._senders[ways[i]](parcels[i].destination, parcels[i].bytes())
                awaited = set()
                for way in {ways[i] for i in chunk}:
                    number = next(self._numbers)
                    awaited.add((number, _ENDS[way]))
                    self._senders[way](_BEHIND_TO, _behind(number))
                self._collect(arrived, awaited)
        return {
            parcel.number
            for way, parcel in zip(ways, parcels, strict=True)
            if (parcel.number, _ENDS[way]) in arrived
        }

    def _collect(self, arrived: set[tuple[int, str]], awaited: set[tuple[int, str]]) -> None:
        """Note who sees which number, until all that is awaited was seen."""
        while not awaited <= arrived:
            ready, _, _ = select.select(list(self._receivers), [], [], _TIMEOUT)
            if not ready:
                raise LabError("the wire is stuck: packets that no rule should touch do not arrive")
            for end in ready:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        number = self._number(end)
                        if number is not None:
                            arrived.add((number, self._receivers[end]))

    def _number(self, end: socket.socket) -> int | None:
        data, sender = end.recvfrom(2048, socket.MSG_DONTWAIT)
        if end.family == socket.AF_PACKET:
            if sender[2] == _PACKET_OUTGOING:
                return None
            _, content = packets.body(data[14:])
        elif end.family == socket.AF_INET:
            _, content = packets.body(data)
        else:  # the kernel keeps the IPv6 header
            content = data
        at = content.find(_MARK, 0, 8 + len(_MARK))
        if at < 0:
            return None
        (number,) = struct.unpack_from(">Q", content, at + len(_MARK))
        return int(number)

    def _configure(self) -> None:
        tools.run(
            ["ip", "-batch", "-"],
            stdin="".join(
                f"link add {device} address 02:00:00:00:0{n}:01 netns {self._prefix}node type veth"
                f" peer name {device} address 02:00:00:00:0{n}:02 netns {self._prefix}{end}\n"
                for n, (device, end) in enumerate(_DEVICES.items())
            ),
        )
        for name in ("left", "right"):
            # Nobody there but our packet sockets: no address, no neighbour discovery.
            self._namespaces[name].sysctl({"net/ipv6/conf/all/disable_ipv6": 1})
            devices = [device for device, end in _DEVICES.items() if end == name]
            self._namespaces[name].ip(*(f"link set {device} arp off up" for device in devices))
        settings: dict[str, int | str] = {
            "net/ipv4/ip_forward": 1,
            "net/ipv6/conf/all/forwarding": 1,
        }
        for scope in ("all", "default"):
            settings[f"net/ipv4/conf/{scope}/rp_filter"] = 0
            settings[f"net/ipv4/conf/{scope}/accept_local"] = 1
            settings[f"net/ipv6/conf/{scope}/disable_ipv6"] = 0
            settings[f"net/ipv6/conf/{scope}/accept_dad"] = 0
        # The kernel's own link-local addresses, /64, would come with an anycast address, fe80::.
        settings |= {f"net/ipv6/conf/{device}/addr_gen_mode": 1 for device in _DEVICES}
        self.node.sysctl(settings)
        lines = []
        for n, device in enumerate(_DEVICES):
            lines.append(f"link set {device} up")
            # Not used by any packet, but without one the kernel finds no IPv6 route.
            lines.append(f"address add fe80::ffff:{n}/128 dev {device} nodad")
            for gateway in (f"169.254.{n}.1", f"fe80::ffff:ff0{n}"):
                peer = f"lladdr 02:00:00:00:0{n}:02 dev {device} nud permanent"
                lines.append(f"neighbor replace {gateway} {peer}")
        self.node.ip(*lines)
        for family, everything, gateway in (
            ("-4", "0.0.0.0/0", "169.254.{n}.1"),
            ("-6", "::/0", "fe80::ffff:ff0{n}"),
        ):
            via = {
                device: f"via {gateway.format(n=n)} dev {device} onlink"
                for n, device in enumerate(_DEVICES)
            }
            for words in (
                "rule add iif in0 lookup 100",
                "rule add iif fwd0 lookup 101",
                "rule add iif right0 lookup 102",
                "rule add oif in0 lookup 103",
                f"route add local {everything} dev lo table 100",
                f"route add {everything} {via['right0']} table 101",
                f"route add {everything} {via['fwd0']} table 102",
                f"route add {everything} {via['in0']} table 103",
            ):
                tools.run(["ip", "-n", self.node.name, family, *words.split()])
        # Link-local destinations need a route of the device they come in by.
        self.node.ip("route add local fe80::/10 dev in0 table 100")

    def _open(self) -> None:
        taps = {device: self._tap(end, device) for device, end in _DEVICES.items()}
        raw = {family: self._raw(family) for family in (socket.AF_INET, socket.AF_INET6)}
        receivers = [
            self._keep(self.node.socket(family, socket.SOCK_RAW, protocol))
            for family in (socket.AF_INET, socket.AF_INET6)
            for protocol in (packets.UDP, packets.EXPERIMENT)
        ]
        index = self.node.call(lambda: socket.if_nametoindex("in0"))
        for group in _JOINED:
            request = socket.inet_pton(socket.AF_INET6, group) + struct.pack("@I", index)
            receivers[2].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        self._receivers = {tap: device for device, tap in taps.items()}
        self._receivers |= dict.fromkeys(receivers, "node")

        def frame(device: str) -> Callable[[Address, bytes], None]:
            n = list(_DEVICES).index(device)

            def send(destination: Address, packet: bytes) -> None:
                taps[device].send(_ethernet(destination, n) + packet)

            return send

        def local(destination: Address, packet: bytes) -> None:
            end = raw[socket.AF_INET if destination.version == 4 else socket.AF_INET6]
            # Dropped in the output hook: that is an answer, not an error.
            with contextlib.suppress(PermissionError):
                end.sendto(packet, (str(destination), 0))

        self._senders: dict[str, Callable[[Address, bytes], None]] = {
            "ingress": frame("in0"),
            "ingress reply": local,
            "egress": local,
            "egress reply": frame("in0"),
            "forward": frame("fwd0"),
            "forward reply": frame("right0"),
        }

    def _tap(self, namespace: str, device: str) -> socket.socket:
        tap = self._keep(self._namespaces[namespace].socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        tap.bind((device, _ETH_P_ALL))
        return tap

    def _raw(self, family: socket.AddressFamily) -> socket.socket:
        end = self._keep(self.node.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW))
        end.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"in0")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        # Without this the node gets a copy of what it sends to its own groups.
        if family == socket.AF_INET:
            end.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        else:
            end.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        return end

    def _keep(self, end: socket.socket) -> socket.socket:
        self._sockets.append(end)
        return end


_DEVICES: Final = {"in0": "left", "fwd0": "left", "right0": "right"}
_ENDS: Final = {  # who sees what arrived
    "ingress": "node",
    "ingress reply": "in0",
    "egress": "in0",
    "egress reply": "node",
    "forward": "right0",
    "forward reply": "fwd0",
}
_BEHIND_FROM: Final = ipaddress.IPv4Address("198.18.0.1")
_BEHIND_TO: Final = ipaddress.IPv4Address("198.18.0.2")


def _behind(number: int) -> bytes:
    """A packet the policy does not judge, to be sent behind others."""
    return packets.ip(
        _BEHIND_FROM, _BEHIND_TO, packets.EXPERIMENT, _MARK + struct.pack(">Q", number)
    )


def _ethernet(destination: Address, device: int) -> bytes:
    """The frame's header from an end of a wire to the node."""
    if _is_broadcast(destination):
        to = b"\xff" * 6
    elif destination.is_multicast and destination.version == 6:
        to = b"\x33\x33" + destination.packed[-4:]
    else:
        to = bytes((2, 0, 0, 0, device, 1))
    kind = b"\x08\x00" if destination.version == 4 else b"\x86\xdd"
    return to + bytes((2, 0, 0, 0, device, 2)) + kind


def _is_broadcast(address: Address) -> bool:
    return address == ipaddress.IPv4Address("255.255.255.255")


def _mapped(*addresses: Address) -> bool:
    """Whether one is ::ffff:a.b.c.d, which may not appear on a wire."""
    return any(isinstance(a, ipaddress.IPv6Address) and a.ipv4_mapped for a in addresses)


@contextlib.contextmanager
def _one_cpu() -> Iterator[None]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
