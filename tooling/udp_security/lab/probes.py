# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Questions asked with real packets: does this datagram arrive, does its answer come back?

What arrives is waited for as an event; only what does not arrive costs its timeout.
"""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from udp_security.lab.errors import LabError
from udp_security.lab.netns import Namespace

_IP_PKTINFO: Final = 8
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50
_IP_MTU_DISCOVER: Final = 10
_IP_PMTUDISC_DONT: Final = 0
_IPV6_MTU: Final = 24
_ICMP_ECHO: Final = 8
_ICMPV6_ECHO: Final = 128
_LARGEST: Final = 65_507

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Outcome:
    """The fate of one request: it reached the listener, the answer came back, or the sender was
    told that the port is unreachable (ICMP, as `denyAction: reject` sends it)."""

    delivered: bool
    replied: bool
    unreachable: bool


class Stream:
    """One UDP flow that goes on while policies change: the same two sockets for every packet.

    The sender is connected to (``address``, ``port``), so an answer only counts when it comes from
    there; the listener takes whatever arrives in ``destination`` on ``listen_port`` and answers
    from the address it was reached at.
    """

    def __init__(
        self,
        source: Namespace,
        destination: Namespace,
        address: str,
        port: int,
        *,
        listen_port: int | None = None,
        source_address: str | None = None,
        source_port: int = 0,
    ) -> None:
        family = _family(address)
        self._family = family
        self._peer: tuple[tuple[str, int], bytes] | None = None
        self._listener = destination.socket(family, socket.SOCK_DGRAM)
        try:
            self._sender = source.socket(family, socket.SOCK_DGRAM)
        except BaseException:
            self._listener.close()
            raise
        try:
            # Path MTU discovery costs a packet: let routers fragment, make fragments that fit.
            for end in (self._listener, self._sender):
                if family == socket.AF_INET6:
                    end.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU, 1280)
                else:
                    end.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)
            if family == socket.AF_INET6:
                self._listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self._listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
            else:
                self._listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            wildcard = "::" if family == socket.AF_INET6 else "0.0.0.0"
            _bind(self._listener, wildcard, listen_port or port, destination)
            _bind(self._sender, source_address or wildcard, source_port, source)
            self._sender.connect((address, port))
        except BaseException:
            self.close()
            raise

    @property
    def source_port(self) -> int:
        """The port the flow comes from."""
        return int(self._sender.getsockname()[1])

    def send(self, *, reply: bool = True, size: int = 32, timeout: float = 0.25) -> Outcome:
        """One request of ``size`` payload bytes (8 to 65507), and with ``reply`` its answer of the
        same size; each may take ``timeout`` seconds."""
        payload = _payload(size)
        self._drain()
        unreachable = False
        try:
            self._sender.send(payload)
        except PermissionError:  # dropped in the sender's own output hook
            return Outcome(False, False, self._refused(0.0))
        except ConnectionRefusedError:
            return Outcome(False, False, True)
        delivered = False
        deadline = time.monotonic() + timeout
        while not unreachable and (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([self._listener, self._sender], [], [], left)
            if self._sender in ready:
                try:
                    if self._sender.recv(_LARGEST) == payload:
                        return Outcome(delivered, True, False)
                except ConnectionRefusedError:
                    unreachable = True
            if self._listener in ready:
                data, peer, own = self._receive()
                if data != payload:
                    continue
                delivered = True
                self._peer = (peer, own)
                if not reply:
                    break
                self._answer(payload)
                deadline = time.monotonic() + timeout
        return Outcome(delivered, False, unreachable)

    def answer(self, *, size: int = 32, timeout: float = 0.25) -> bool:
        """One packet the other way, unasked, on the flow as the listener last saw it: did it
        arrive? LabError when nothing ever reached the listener."""
        if self._peer is None:
            raise LabError("a stream can only answer after a request was delivered")
        payload = _payload(size)
        self._drain()
        if not self._answer(payload):
            return False
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._sender], [], [], left)[0]:
                try:
                    if self._sender.recv(_LARGEST) == payload:
                        return True
                except ConnectionRefusedError:
                    continue
        return False

    def close(self) -> None:
        """Close both ends."""
        self._sender.close()
        self._listener.close()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self) -> tuple[bytes, tuple[str, int], bytes]:
        """A datagram, who sent it, and the control data that makes an answer leave from the address
        it was sent to."""
        data, control, _, peer = self._listener.recvmsg(_LARGEST, 128)
        for level, kind, content in control:
            if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
                return data, peer, struct.pack("=i4s4x", 0, content[4:8])
            if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
                return data, peer, content[:16] + struct.pack("=i", 0)
        raise LabError("the kernel did not say which address a datagram was sent to")

    def _answer(self, payload: bytes) -> bool:
        """Whether the packet left: a drop in the listener's output hook is an error here."""
        assert self._peer is not None
        peer, own = self._peer
        control = (
            (socket.IPPROTO_IPV6, _IPV6_PKTINFO, own)
            if self._family == socket.AF_INET6
            else (socket.IPPROTO_IP, _IP_PKTINFO, own)
        )
        try:
            self._listener.sendmsg([payload], [control], 0, peer)
        except (PermissionError, ConnectionRefusedError):
            return False
        return True

    def _drain(self) -> None:
        """Forget what is left over from earlier packets."""
        for end in (self._sender, self._listener):
            while True:
                try:
                    end.recv(_LARGEST, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # a pending error, now cleared

    def _refused(self, timeout: float) -> bool:
        if not select.select([self._sender], [], [], timeout)[0]:
            return False
        try:
            self._sender.recv(_LARGEST, socket.MSG_DONTWAIT)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False


def tcp(
    source: Namespace,
    destination: Namespace,
    address: str,
    port: int,
    *,
    listen_port: int | None = None,
    timeout: float = 1.0,
) -> Outcome:
    """A TCP connection that carries one request and its answer."""
    family = _family(address)
    with (
        destination.socket(family, socket.SOCK_STREAM) as listener,
        source.socket(family, socket.SOCK_STREAM) as sender,
    ):
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wildcard = "::" if family == socket.AF_INET6 else "0.0.0.0"
        _bind(listener, wildcard, listen_port or port, destination)
        listener.listen(1)
        listener.settimeout(timeout)
        sender.settimeout(timeout)
        payload = _payload(32)
        delivered = False
        try:
            sender.connect((address, port))
            sender.sendall(payload)
            accepted, _ = listener.accept()
            with accepted:
                accepted.settimeout(timeout)
                delivered = accepted.recv(_LARGEST) == payload
                accepted.sendall(payload)
                return Outcome(delivered, sender.recv(_LARGEST) == payload, False)
        except ConnectionRefusedError:
            return Outcome(delivered, False, True)
        except (TimeoutError, PermissionError):
            return Outcome(delivered, False, False)


def ping(source: Namespace, address: str, *, size: int = 32, timeout: float = 0.5) -> bool:
    """An ICMP echo request: did the answer come back?"""
    family = _family(address)
    if family == socket.AF_INET6:
        protocol, request, answer = socket.IPPROTO_ICMPV6, _ICMPV6_ECHO, 129
    else:
        protocol, request, answer = socket.IPPROTO_ICMP, _ICMP_ECHO, 0
    payload = _payload(size)
    with source.socket(family, socket.SOCK_DGRAM, protocol) as sender:
        # The kernel fills in the identifier and the checksum of such a socket.
        try:
            sender.sendto(struct.pack(">BBHHH", request, 0, 0, 0, 1) + payload, (address, 0))
        except OSError:  # no route yet, or dropped in the output hook
            return False
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if select.select([sender], [], [], left)[0]:
                data = sender.recv(_LARGEST)
                if data[0] == answer and data[8:] == payload:
                    return True
    return False


def dns_query(
    source: Namespace,
    server: str,
    name: str,
    *,
    family: int = 4,
    source_address: str | None = None,
    source_port: int = 0,
    timeout: float = 0.5,
) -> list[str] | None:
    """Ask a DNS server for a name's IPv4 (``family`` 4) or IPv6 (6) addresses over UDP port 53.

    Returns the addresses, empty when the server knows none, or None when no answer came.
    """
    kind = 28 if family == 6 else 1
    identity = os.urandom(2)
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    query = identity + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0)
    query += question + struct.pack(">HH", kind, 1)
    with source.socket(_family(server), socket.SOCK_DGRAM) as sender:
        wildcard = "::" if sender.family == socket.AF_INET6 else "0.0.0.0"
        _bind(sender, source_address or wildcard, source_port, source)
        sender.connect((server, 53))
        deadline = time.monotonic() + timeout
        try:
            sender.send(query)
            while (left := deadline - time.monotonic()) > 0:
                if select.select([sender], [], [], left)[0]:
                    data = sender.recv(4096)
                    if data[:2] == identity:
                        return _dns_addresses(data, len(query), kind)
        except (PermissionError, ConnectionRefusedError):
            return None
    return None


def _dns_addresses(data: bytes, start: int, kind: int) -> list[str]:
    """The addresses in a DNS answer whose question section ends at ``start``."""
    (count,) = struct.unpack_from(">H", data, 6)
    found = []
    for _ in range(count):
        while data[start] and data[start] < 0xC0:
            start += data[start] + 1
        start += 2 if data[start] else 1
        record, _, _, length = struct.unpack_from(">HHIH", data, start)
        start += 10
        if record == kind:
            found.append(str(ipaddress.ip_address(data[start : start + length])))
        start += length
    return found


def _payload(size: int) -> bytes:
    """Unique bytes of exactly this length."""
    token = struct.pack(">Q", next(_numbers))
    if not len(token) <= size <= _LARGEST:
        raise LabError(f"a probe carries {len(token)} to {_LARGEST} bytes, not {size}")
    return token + bytes(size - len(token))


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET


def _bind(end: socket.socket, address: str, port: int, namespace: Namespace) -> None:
    try:
        end.bind((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise LabError(
                f"port {port} is taken in namespace {namespace.name}",
                "ask the server that has it (dns_query), or probe another port",
            ) from error
        raise LabError(
            f"cannot use address {address} in namespace {namespace.name}: {error}"
        ) from error
