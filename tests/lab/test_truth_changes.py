# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The truth table while the policy changes under running flows, as a rollout changes it.

A new pod starts beside the old one, takes the node over, and only then the old one leaves. One flow
of each kind runs all the time; one more, which every policy allows, sends without a pause and must
not lose a packet.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from tests.lab.table import DENIED_WAIT, PATIENCE, Governed, Row, address, each_family, govern

from udp_security.lab.addresses import ECHO, FAMILIES, Family, Pair
from udp_security.lab.probes import Stream
from udp_security.lab.topology import Lab

KEPT_PORT: Final = 7000
KEPT: Final = {"name": "kept", "direction": "ingress", "ports": [KEPT_PORT]}
FLOWS: Final[Mapping[str, tuple[str, str | Pair, int, str, str]]] = {
    # flow: who, to whom, on which port, the rule that allows it, the direction that judges it
    "ingress": ("outsider", "node", 514, "syslog", "ingress"),
    "egress": ("node", "outsider", 514, "trap", "egress"),
    "forward-out": ("pod-a", "outsider", 5000, "pods", "forward"),
    "forward-in": ("outsider", "pod-b", 5001, "pods", "forward"),
    "pods-of-one-node": ("pod-a", "pod-b", 5002, "pods", "forward"),
    "pods-of-two-nodes": ("pod-a", "pod-c", 5003, "pods", "forward"),
    "service": ("dns", ECHO.address, 5000, "pods", "forward"),
    "nodeport": ("remote", "node", 30054, "pods", "forward"),
}
LOOSE: Final = {
    "rules": [
        KEPT,
        {"name": "syslog", "direction": "ingress", "ports": [514]},
        {"name": "trap", "direction": "egress", "ports": [514]},
        {"name": "pods", "direction": "forward", "ports": ["5000-5003"]},
    ]
}
TIGHT: Final = {"rules": [KEPT]}
PHASES: Final[Mapping[str, Mapping[str, Any]]] = {
    "open": LOOSE,
    "tightened": TIGHT,
    "loosened": LOOSE,
}
# Counters of what runs beside the flow that is looked at.
BESIDE: Final = ("r.kept", "r.preset.flannelVxlan.egress", "r.preset.flannelVxlan.ingress")


@dataclass(frozen=True)
class Seen:
    """A look at a flow: a request, its answer, a packet back by itself, and the counters moved."""

    delivered: bool
    replied: bool
    answered: bool
    moved: Mapping[str, int]


def look(governed: Governed, stream: Stream, timeout: float) -> Seen:
    """Send on a flow both ways."""
    before = governed.counters()["node"]
    fate = stream.send(timeout=timeout)
    answered = stream.answer(timeout=timeout)
    after = governed.counters()["node"]
    moved = {name: n - before[name] for name, n in after.items() if n != before[name]}
    return Seen(
        fate.delivered,
        fate.replied,
        answered,
        {name: n for name, n in moved.items() if name not in BESIDE},
    )


class Sender:
    """Sends on an allowed flow without a pause while the block runs, and counts what arrives."""

    def __init__(self, lab: Lab) -> None:
        self.sent = 0
        self.arrived = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._receive, self._send)]
        self._receiver = lab.ns("node").socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.bind(("0.0.0.0", KEPT_PORT))
        self._receiver.settimeout(DENIED_WAIT)
        self._sender = lab.ns("outsider").socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sender.connect((lab.address("node"), KEPT_PORT))

    def _send(self) -> None:
        while not self._stop.wait(0.0002):
            self.sent += 1
            with contextlib.suppress(OSError):
                self._sender.send(b"x")

    def _receive(self) -> None:
        while True:
            stopped = self._stop.is_set()
            try:
                self._receiver.recv(1)
                self.arrived += 1
            except TimeoutError:
                if stopped:
                    return

    def __enter__(self) -> Sender:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._sender.close()
        self._receiver.close()


@dataclass(frozen=True)
class Story:
    """What was seen of every flow in every phase, and what became of the packets sent beside."""

    seen: Mapping[tuple[str, tuple[str, Family]], Seen]
    sent: int
    arrived: int
    logs: str


@pytest.fixture(scope="module")
def story(lab: Lab) -> Story:
    """The phases one after another, with two rollouts between them."""
    seen = {}
    with contextlib.ExitStack() as streams, govern(lab, LOOSE) as governed, Sender(lab) as sender:
        flows = {
            (flow, family): streams.enter_context(stream(lab, flow, family))
            for flow in FLOWS
            for family in FAMILIES
        }
        logs = ""
        for phase, values in PHASES.items():
            if phase != "open":
                pod = governed.pods["node"]
                governed.replace("node", values)
                logs += pod.logs()
            timeout = DENIED_WAIT if phase == "tightened" else PATIENCE
            for key, flow in flows.items():
                seen[phase, key] = look(governed, flow, timeout)
    return Story(seen, sender.sent, sender.arrived, logs)


def stream(lab: Lab, flow: str, family: Family) -> Stream:
    """The sockets of one flow."""
    source, target, port, *_ = FLOWS[flow]
    return lab.stream(source, address(lab, target, family), port)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("flow", FLOWS)
@each_family
def test_running_flow(story: Story, flow: str, phase: str, family: Family) -> None:
    """A tightened policy kills a running flow with the next packet of either side; a loosened one
    lets the same flow live again."""
    *_, rule, direction = FLOWS[flow]
    expected = (
        Seen(False, False, False, {f"denied.{direction}": 2})
        if phase == "tightened"
        else Seen(True, True, True, {f"r.{rule}": 3})
    )
    assert story.seen[phase, (flow, family)] == expected


def test_rollout_loses_nothing(story: Story) -> None:
    """Neither rollout cost an allowed flow a packet, and both left the rules to the new pod."""
    assert story.sent > 1000
    assert story.arrived == story.sent
    assert story.logs.count("the rules stay: they belong to pod") == 2


@each_family
def test_one_entry_has_one_direction(lab: Lab, family: Family) -> None:
    """500 to 500: the flow was opened by a side that may not open it any more. Its conntrack entry
    keeps that direction, so it stays denied both ways, although the other side may open it."""
    incoming = {"name": "in", "direction": "ingress", "ports": [500]}
    outgoing = {"name": "out", "direction": "egress", "ports": [500]}
    node = lab.address("node", family)
    with govern(lab, {"rules": [incoming, outgoing]}) as governed:
        with lab.stream("outsider", node, 500, src_port=500) as flow:
            with governed.moves(node={"r.in": 2}):
                assert flow.send(timeout=PATIENCE).replied
            governed.replace("node", {"rules": [outgoing]})
            for _ in range(2):
                with governed.moves(node={"denied.ingress": 2}):
                    assert not flow.answer(timeout=DENIED_WAIT)
                    assert not flow.send(timeout=DENIED_WAIT).delivered
        # Once conntrack has forgotten it, the allowed side opens it.
        lab.ns("node").flush_conntrack()
        opened = Row("", "node", "outsider", 500, "answered", {"r.out": 2}, source_port=500)
        opened.check(governed, family)
        answer = Row("", "outsider", "node", 500, "answered", {"r.out": 2}, source_port=500)
        answer.check(governed, family)
