# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""IPv4 and IPv6 packets as bytes, with correct checksums: conntrack calls others invalid."""

from __future__ import annotations

import ipaddress
import struct
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UDP: Final = 17
EXPERIMENT: Final = 253  # RFC 3692: for experiments, so nobody's policy


def udp(
    source: Address, source_port: int, destination: Address, port: int, payload: bytes
) -> bytes:
    """A UDP packet with its IP header. The addresses are of one family."""
    length = 8 + len(payload)
    header = struct.pack(">HHHH", source_port, port, length, 0)
    before = pseudo_header(source, destination, UDP, length)
    # A sum of zero is sent as all ones: zero would say that there is none.
    total = checksum(before + header + payload) or 0xFFFF
    return ip(source, destination, UDP, header[:6] + struct.pack(">H", total) + payload)


def ip(source: Address, destination: Address, protocol: int, body: bytes) -> bytes:
    """A packet of any protocol."""
    if source.version == 6:
        start = struct.pack(">IHBB", 6 << 28, len(body), protocol, 64)
        return start + source.packed + destination.packed + body
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0)
    header += source.packed + destination.packed
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + body


def body(packet: bytes) -> tuple[int, bytes]:
    """Protocol and content of a packet without extension headers; (-1, b"") for what is none."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        return packet[9], packet[(packet[0] & 15) * 4 :]
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        return packet[6], packet[40:]
    return -1, b""


def pseudo_header(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    """What a transport's checksum covers before its own header; ``length`` counts from there."""
    rest = ">BBH" if source.version == 4 else ">IxxxB"
    numbers = (0, protocol, length) if source.version == 4 else (length, protocol)
    return source.packed + destination.packed + struct.pack(rest, *numbers)


def checksum(data: bytes) -> int:
    """The Internet checksum."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
