# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Frames that no socket of its own address would send: as a pod with NET_RAW makes them.

A packet is what ``udp_security.lab.packets`` makes; ``send`` puts Ethernet around it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from udp_security.lab import packets
from udp_security.lab.addresses import Family
from udp_security.lab.topology import Lab

IP: Final = 0x0800
IPV6: Final = 0x86DD
ARP: Final = 0x0806
TAG_Q: Final = 0x8100  # 802.1Q
TAG_AD: Final = 0x88A8  # 802.1ad, the provider's tag
BROADCAST: Final = b"\xff" * 6

Tag = tuple[int, int]
"""A VLAN tag: its type, and priority and VLAN id as they stand in it."""

HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
DESTINATION: Final = 60

_TCP: Final = 6
_SYN: Final = 2


def hardware(lab: Lab, namespace: str, device: str = "eth0") -> bytes:
    """A device's hardware address."""
    text = lab.run(namespace, ["ip", "-br", "link", "show", "dev", device]).stdout
    return bytes.fromhex(text.split()[2].replace(":", ""))


def send(
    lab: Lab,
    source: str,
    to: bytes,
    *contents: bytes,
    kind: int | None = None,
    tags: Sequence[Tag] = (),
) -> None:
    """Send contents, each in a frame of its own, from a pod's device; ``tags`` from the outside in.

    ``kind`` is the innermost type; without it IPv4 or IPv6, as the content says.
    """
    with lab.ns(source).socket(socket.AF_PACKET, socket.SOCK_RAW) as device:
        device.bind(("eth0", 0))
        head = to + hardware(lab, source) + b"".join(struct.pack(">HH", *tag) for tag in tags)
        for content in contents:
            inner = kind if kind is not None else IP if content[0] >> 4 == 4 else IPV6
            device.send(head + struct.pack(">H", inner) + content)


class Receiver:
    """A socket that knows only whether something came."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def got(self, payload: bytes, timeout: float) -> bool:
        """Whether this payload came within so many seconds; what else came is forgotten."""
        self._end.settimeout(timeout)
        with contextlib.suppress(TimeoutError):
            while True:
                if self._end.recv(65535) == payload:
                    return True
        return False

    def got_anything(self) -> bool:
        """Whether anything has come so far."""
        self._end.setblocking(False)
        try:
            return bool(self._end.recv(65535))
        except BlockingIOError:
            return False


@contextlib.contextmanager
def receiver(lab: Lab, namespace: str, family: Family, port: int) -> Iterator[Receiver]:
    """A socket on all addresses of a namespace."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with lab.ns(namespace).socket(kind, socket.SOCK_DGRAM) as end:
        end.bind(("", port))
        yield Receiver(end)


@contextlib.contextmanager
def sniffer(lab: Lab, namespace: str) -> Iterator[Receiver]:
    """Whatever comes in by a pod's device, whether its stack takes it or not."""
    with lab.ns(namespace).socket(
        socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0003)
    ) as device:
        yield Receiver(device)


def udp(
    source: str, destination: str, port: int, payload: bytes, *, source_port: int = 40000
) -> bytes:
    """A UDP packet between addresses given as text."""
    return packets.udp(
        ipaddress.ip_address(source), source_port, ipaddress.ip_address(destination), port, payload
    )


def syn(source: str, destination: str, port: int) -> bytes:
    """TCP's first packet."""
    here, there = ipaddress.ip_address(source), ipaddress.ip_address(destination)
    header = struct.pack(">HHIIBBHHH", 40000, port, 1, 0, 5 << 4, _SYN, 64000, 0, 0)
    before = packets.pseudo_header(here, there, _TCP, len(header))
    total = struct.pack(">H", packets.checksum(before + header))
    return packets.ip(here, there, _TCP, header[:16] + total + header[18:])


def arp_request(sender: bytes, source: str, target: str) -> bytes:
    """Who has the target's IPv4 address?"""
    here, there = (ipaddress.IPv4Address(text).packed for text in (source, target))
    return struct.pack(">HHBBH", 1, IP, 6, 4, 1) + sender + here + bytes(6) + there


def extended(packet: bytes, *kinds: int) -> bytes:
    """An IPv6 packet with (empty) extension headers of these kinds, first to last."""
    following, body = packet[6], packet[40:]
    for kind in reversed(kinds):
        # Options: a PadN of four bytes. Routing: an unknown type with no segments left.
        content = b"\x01\x04\0\0\0\0" if kind in (HOP_BY_HOP, DESTINATION) else b"\xfd\0\0\0\0\0"
        body = bytes((following, 0)) + content + body
        following = kind
    return packet[:4] + struct.pack(">HB", len(body), following) + packet[7:40] + body


def fragments(packet: bytes, size: int) -> list[bytes]:
    """A packet in pieces of ``size`` bytes (a multiple of 8) of what follows the fixed header."""
    if packet[0] >> 4 == 4:
        return _fragments4(packet, size)
    pieces = []
    for offset in range(0, len(packet) - 40, size):
        piece = packet[40 + offset : 40 + offset + size]
        more = offset + size < len(packet) - 40
        header = struct.pack(">BBHI", packet[6], 0, offset | more, 7)
        length = struct.pack(">HB", len(header) + len(piece), FRAGMENT)
        pieces.append(packet[:4] + length + packet[7:40] + header + piece)
    return pieces


def _fragments4(packet: bytes, size: int) -> list[bytes]:
    pieces = []
    for offset in range(0, len(packet) - 20, size):
        piece = packet[20 + offset : 20 + offset + size]
        more = offset + size < len(packet) - 20
        header = struct.pack(
            ">BBHHHBBH", packet[0], 0, 20 + len(piece), 7, offset // 8 | more << 13, 64,
            packet[9], 0,
        ) + packet[12:20]  # fmt: skip
        checksum = struct.pack(">H", packets.checksum(header))
        pieces.append(header[:10] + checksum + header[12:] + piece)
    return pieces
