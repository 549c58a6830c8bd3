# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The node's conntrack table is full.

Its size is a setting of the machine that no other namespace can change, so it is really filled.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final

import pytest
from tests.lab.agents import (
    ANOTHER_POLICY,
    OPEN,
    OTHER,
    Node,
    check,
    documents,
    heals,
    said,
    status,
    until,
)

from udp_security.lab.netns import Namespace
from udp_security.lab.topology import Lab

_NETFILTER: Final = 12
_NEW: Final = 1 << 8  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW
_CREATE: Final = 0x1 | 0x200 | 0x400  # NLM_F_REQUEST, NLM_F_EXCL, NLM_F_CREATE
_ORIG, _REPLY, _STATUS, _TIMEOUT = 1, 2, 3, 7  # CTA_*
_LIVING: Final = 0b1110  # IPS_SEEN_REPLY, _ASSURED, _CONFIRMED: the kernel spares these
_BATCH: Final = 200
_MOST: Final = 1 << 19


def _attribute(kind: int, *parts: bytes, nested: bool = False) -> bytes:
    data = b"".join(parts)
    header = struct.pack("=HH", 4 + len(data), kind | (0x8000 if nested else 0))
    return header + data + bytes(-len(data) % 4)


def _tuple(kind: int, source: bytes, target: bytes, ports: tuple[int, int]) -> bytes:
    addresses = _attribute(1, _attribute(1, source), _attribute(2, target), nested=True)
    numbers = (_attribute(i, struct.pack("!H", port)) for i, port in enumerate(ports, 2))
    udp = _attribute(2, _attribute(1, bytes((17,))), *numbers, nested=True)
    return _attribute(kind, addresses, udp, nested=True)


def _flow(number: int) -> bytes:
    source, target = struct.pack("!I", 0x0A000000 + (number >> 15)), bytes((10, 255, 0, 1))
    port = 1024 + (number & 0x7FFF)
    body = b"".join(
        (
            struct.pack("=BBH", socket.AF_INET, 0, 0),
            _tuple(_ORIG, source, target, (port, 9)),
            _tuple(_REPLY, target, source, (9, port)),
            _attribute(_TIMEOUT, struct.pack("!I", 600)),
            _attribute(_STATUS, struct.pack("!I", _LIVING)),
        )
    )
    return struct.pack("=IHHII", 16 + len(body), _NEW, _CREATE, number, 0) + body


def fill(namespace: Namespace) -> None:
    """Make flows that live, as many as the kernel admits."""
    limit = int(namespace.read_sysctl("net/netfilter/nf_conntrack_max"))
    if limit > _MOST:
        pytest.skip(f"this machine's conntrack tables hold {limit} flows: too many to fill one")
    with namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER) as kernel:
        kernel.settimeout(5)
        # Each refusal is an answer that nobody reads.
        for first in range(0, limit + _BATCH, _BATCH):
            kernel.send(b"".join(map(_flow, range(first, first + _BATCH))))
    assert int(namespace.read_sysctl("net/netfilter/nf_conntrack_count")) >= limit


@pytest.fixture(scope="module")
def lab(sandboxed: None) -> Iterator[Lab]:
    """A lab of this module's own: nothing works on its node any more."""
    with Lab() as built:
        yield built


def test_a_full_table(node: Node) -> None:
    """The kernel drops what would be a new flow; the agent is well, and nothing denied passes."""
    pod = node.start(documents(ANOTHER_POLICY))
    address = node.lab.address("node")
    with node.lab.stream("outsider", address, OPEN) as known:
        assert known.send().replied
        fill(node.lab.ns("node"))
        assert known.send().replied
        assert not node.lab.probe("outsider", address, OPEN + 2).delivered
        assert not node.lab.probe("outsider", address, OTHER).delivered
        node.nft("add", "chain", "inet", "udp_security", "theirs")
        until(lambda: heals(pod, node.lab) == 1)
        assert check(pod)[0] == 0
        assert status(pod)["healthy"]
        # The new generation judges the known flow as the old one did.
        assert known.send().replied
        node.lab.ns("node").flush_conntrack()
        assert known.send().replied
        assert node.lab.probe("outsider", address, OPEN + 2).replied
        assert not node.lab.probe("outsider", address, OTHER).delivered
    assert len(said(pod, "healed")) == 1
