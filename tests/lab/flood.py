# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Two flows, one allowed and one denied, that go on while agents swap their rules."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from types import TracebackType

from tests.lab.agents import OPEN, OTHER
from tests.lab.counting import Counters, dropped

from udp_security.lab.topology import Lab

_TABLE = """table inet flood {
    counter passed { }
    counter leaked { }
    chain input {
        type filter hook input priority 100;
        iifname "lo" return
        udp dport OPEN counter name passed
        udp dport OTHER counter name leaked
    }
}
"""


class Flood:
    """Context manager: the outsider sends to the node's ports OPEN and OTHER until the block ends,
    as fast as it can, or resting ``rest`` seconds after every 20 packets.

    A table of its own counts what passed behind the agent's hooks. It has to let it go on, for
    conntrack only remembers a flow whose first packet arrives; there, sockets that nobody reads
    swallow it.
    """

    def __init__(self, lab: Lab, rest: float = 0) -> None:
        self._lab = lab
        self._rest = rest
        self._cleanup = contextlib.ExitStack()
        self._stop = threading.Event()
        self._sent = 0
        self._thread = threading.Thread(target=self._send, name="flood")
        self.lost = 0
        self.leaked = 0

    @property
    def sent(self) -> int:
        """Packets sent on each of the two flows so far."""
        return self._sent

    def passed(self) -> dict[str, int]:
        """How many packets have passed so far: ``passed``, to OPEN, and ``leaked``, to OTHER."""
        return self._counters.packets()

    def __enter__(self) -> Flood:
        text = _TABLE.replace("OPEN", str(OPEN)).replace("OTHER", str(OTHER))
        self._lab.run("node", ["nft", "-f", "-"], stdin=text)
        node = self._lab.ns("node")
        self._counters = self._cleanup.enter_context(Counters(node, "flood"))
        for port in (OPEN, OTHER):
            sink = self._cleanup.enter_context(node.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sink.bind(("", port))
        self._dropped = dropped()
        self._thread.start()
        while not self._sent:
            time.sleep(0.01)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        counters = self.passed()
        self._cleanup.close()
        self._lab.run("node", ["nft", "delete", "table", "inet", "flood"])
        # A machine with too few processors for all this loses packets before any hook sees them.
        self.lost = max(0, self._sent - counters["passed"] - (dropped() - self._dropped))
        self.leaked = counters["leaked"]

    def _send(self) -> None:
        address = self._lab.address("node")
        payload = bytes(32)
        with contextlib.ExitStack() as stack:
            allowed, denied = (
                stack.enter_context(self._socket(address, port)) for port in (OPEN, OTHER)
            )
            while not self._stop.is_set():
                for _ in range(20):
                    allowed.send(payload)
                    denied.send(payload)
                self._sent += 20
                if self._rest:
                    time.sleep(self._rest)

    @contextlib.contextmanager
    def _socket(self, address: str, port: int) -> Iterator[socket.socket]:
        with self._lab.ns("outsider").socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((address, port))
            yield sender
