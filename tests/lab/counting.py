# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Reads counters straight from the kernel: a table's, often, for which nft is too slow, and that of
packets that no table ever saw."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from udp_security.lab.netns import Namespace

_NETFILTER: Final = 12
_GET_OBJECT: Final = (10 << 8) | 19  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETOBJ
_REQUEST_DUMP: Final = 0x1 | 0x300
_INET: Final = 1
_ERROR, _DONE = 2, 3
_TABLE, _NAME, _DATA = 1, 2, 4  # NFTA_OBJ_*
_PACKETS: Final = 2  # NFTA_COUNTER_PACKETS
_TYPE_MASK: Final = 0x3FFF


class Counters:
    """The named counters of an inet table. Context manager: it keeps a socket."""

    def __init__(self, namespace: Namespace, table: str) -> None:
        self._socket = namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
        name = table.encode() + b"\0"
        attribute = struct.pack("=HH", 4 + len(name), _TABLE) + name + b"\0" * (-len(name) % 4)
        body = struct.pack("=BBH", _INET, 0, 0) + attribute
        self._request = (
            struct.pack("=IHHII", 16 + len(body), _GET_OBJECT, _REQUEST_DUMP, 1, 0) + body
        )

    def __enter__(self) -> Counters:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def packets(self) -> dict[str, int]:
        """How many packets each counter has counted; nothing where there is no table.

        Raises OSError when the kernel refuses.
        """
        found: dict[str, int] = {}
        self._socket.send(self._request)
        while True:
            data = self._socket.recv(1 << 16)
            while data:
                length, kind = struct.unpack_from("=IH", data)
                if kind == _DONE:
                    return found
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=i", data, 16)[0], "counters cannot be read")
                attributes = dict(_attributes(data[20:length]))
                name = attributes[_NAME].rstrip(b"\0").decode("ascii")
                packets = dict(_attributes(attributes[_DATA]))[_PACKETS]
                found[name] = int.from_bytes(packets, "big")
                data = data[length:]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        length, kind = struct.unpack_from("=HH", data)
        yield kind & _TYPE_MASK, data[4:length]
        data = data[(length + 3) & ~3 :]


def dropped() -> int:
    """Packets that the machine's processors threw away because their queues were full: those of
    all namespaces together, ours and anybody's."""
    lines = Path("/proc/net/softnet_stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1], 16) for line in lines)
