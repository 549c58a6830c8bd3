# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""DHCP in the truth table: what client and server send to everybody on the link.

Renewals, which are plain flows, stand with the presets.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Final

import pytest
from tests.lab.table import DENIED_WAIT, PATIENCE, Governed, govern

from udp_security.lab.addresses import Family
from udp_security.lab.topology import Lab

BROADCAST: Final = "255.255.255.255"
SERVERS_AND_RELAYS: Final = "ff02::1:2"


@pytest.fixture(scope="module")
def governed(lab: Lab) -> Iterator[Governed]:
    """The chart's defaults on both nodes."""
    with govern(lab, {}, "node", "node2") as both_nodes:
        yield both_nodes


def end(lab: Lab, namespace: str, device: str, family: Family, port: int) -> socket.socket:
    """A socket on one link, as DHCP's clients and servers have it."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    made = lab.ns(namespace).socket(kind, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    made.bind(("0.0.0.0" if family == 4 else "::", port))
    return made


def index(lab: Lab, namespace: str, device: str) -> int:
    """The device's number."""
    return lab.ns(namespace).call(lambda: socket.if_nametoindex(device))


def link_local(lab: Lab, namespace: str, device: str) -> str:
    """The device's own IPv6 address for its link."""
    command = ["ip", "-o", "-6", "address", "show", "dev", device, "scope", "link"]
    listing = lab.run(namespace, command)
    return listing.stdout.split()[3].partition("/")[0]


def arrives(receiver: socket.socket, payload: bytes, timeout: float = PATIENCE) -> bool:
    """Whether this datagram arrives in time."""
    receiver.settimeout(timeout)
    with contextlib.suppress(TimeoutError):
        return receiver.recv(2048) == payload
    return False


def test_dhcp_v4_client_broadcasts(governed: Governed) -> None:
    """A discovery leaves the client's node; the other node, which is no server, lets nothing in,
    nor does the client's own node the copy that the kernel makes for it."""
    lab = governed.lab
    denied = {"denied.ingress": 1}
    with (
        end(lab, "node", "eth0", 4, 68) as client,
        end(lab, "remote", "lan", 4, 67) as server,
        end(lab, "node2", "eth0", 4, 67) as other,
        governed.moves(node={"r.preset.dhcp.egress-v4": 1, **denied}, node2=denied),
    ):
        client.sendto(b"discover", (BROADCAST, 67))
        assert arrives(server, b"discover")
        assert not arrives(other, b"discover", DENIED_WAIT)


def test_dhcp_v4_server_broadcasts(governed: Governed) -> None:
    """A server's answer to everybody is no reply for conntrack, and reaches the client's port."""
    lab = governed.lab
    moved = {"r.preset.dhcp.ingress-v4": 1}
    with (
        end(lab, "node", "eth0", 4, 68) as client,
        end(lab, "remote", "lan", 4, 67) as server,
        governed.moves(node=moved, node2=moved),
    ):
        server.sendto(b"offer", (BROADCAST, 68))
        assert arrives(client, b"offer")


def test_dhcp_v4_broadcast_to_another_port(governed: Governed) -> None:
    lab = governed.lab
    moved = {"denied.ingress": 1}
    with (
        end(lab, "node", "eth0", 4, 69) as client,
        end(lab, "remote", "lan", 4, 67) as server,
        governed.moves(node=moved, node2=moved),
    ):
        server.sendto(b"offer", (BROADCAST, 69))
        assert not arrives(client, b"offer", DENIED_WAIT)


def test_dhcp_v6_client_and_server(governed: Governed) -> None:
    """A solicitation goes to a group, the answer comes from another address: two flows."""
    lab = governed.lab
    with (
        end(lab, "node", "eth0", 6, 546) as client,
        end(lab, "remote", "lan", 6, 547) as server,
    ):
        group = socket.inet_pton(socket.AF_INET6, SERVERS_AND_RELAYS)
        lan, eth0 = index(lab, "remote", "lan"), index(lab, "node", "eth0")
        server.setsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", lan)
        )
        with governed.moves(node={"r.preset.dhcp.egress-v6": 1}):
            client.sendto(b"solicit", (SERVERS_AND_RELAYS, 547, 0, eth0))
            assert arrives(server, b"solicit")
        with governed.moves(node={"r.preset.dhcp.ingress-v6": 1}):
            server.sendto(b"advertise", (link_local(lab, "node", "eth0"), 546, 0, lan))
            assert arrives(client, b"advertise")
