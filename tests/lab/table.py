# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the truth table is written in: a policy in force in the lab, and rows of packets.

A row says who sends what to whom, whether it arrives, and which counters of which node move, and by
how many packets; every other counter has to stand still.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import pytest
import yaml
from tests.lab import iptables
from tests.lab.counting import Counters as TableCounters

from udp_security import helm
from udp_security.chart import chart_dir
from udp_security.lab.addresses import FAMILIES, PODS, Family, Pair, cluster_values
from udp_security.lab.manifest import Manifest
from udp_security.lab.pod import AgentPod
from udp_security.lab.probes import Outcome
from udp_security.lab.topology import Lab

Counters = Mapping[str, int | None]
"""Packets by counter; None: some, but how many is not the policy's business."""

Fate = Literal["answered", "unanswered", "denied", "rejected"]
"""Request and answer arrive; the answer is lost; the request is; it is, and the sender is told."""

ALL_LIFELINES: Final = ["dns", "dhcp", "flannelVxlan"]
NO_PRESETS: Final = dict.fromkeys(("dns", "dhcp", "ntp", "flannelVxlan"), False)
VXLAN: Final[Counters] = {
    "r.preset.flannelVxlan.egress": 1,
    "r.preset.flannelVxlan.ingress": 1,
}
"""What a request and its answer between pods of two nodes move on both, beside the pods' rule."""
VXLAN_SOME: Final[Counters] = dict.fromkeys(VXLAN)

# Seconds. What is allowed is only waited for as long as it takes. What is denied would have arrived
# by then, and the counters have to say that it was denied.
PATIENCE: Final = 2.0
DENIED_WAIT: Final = 0.1


def both(*pairs: Pair) -> list[str]:
    """Addresses or networks of both families, as a rule lists them."""
    return [text for pair in pairs for text in (pair.v4, pair.v6)]


def pods(*names: str) -> list[str]:
    """Pods' addresses, as a rule lists them."""
    return both(*(PODS[name][1] for name in names))


def render(values: Mapping[str, Any]) -> list[Manifest]:
    """The chart's documents for these values in the lab's cluster."""
    return _render(json.dumps({"cluster": cluster_values(), **values}, sort_keys=True))


@functools.cache
def _render(values: str) -> list[Manifest]:
    text = helm.template(chart_dir(), json.loads(values), "udp-security", "udp-security")
    return [document for document in yaml.safe_load_all(text) if document]


@dataclass
class Governed:
    """A lab with the agent on some of its nodes."""

    lab: Lab
    pods: dict[str, AgentPod]

    def counters(self) -> dict[str, dict[str, int]]:
        """Packets by node and counter, straight from the kernel."""
        return {node: counters(self.lab, node) for node in self.pods}

    @contextlib.contextmanager
    def moves(self, **expected: Counters) -> Iterator[None]:
        """Exactly these counters move in the block, by so many packets; nodes are keywords."""
        before = self.counters()
        yield
        deadline = time.monotonic() + PATIENCE
        while True:
            moved = {
                node: {
                    name: n - before[node][name]
                    for name, n in now.items()
                    if n != before[node][name]
                }
                for node, now in self.counters().items()
            }
            wanted = {
                node: {
                    name: moved[node].get(name, "some") if n is None else n
                    for name, n in expected.get(node, {}).items()
                }
                for node in self.pods
            }
            # A packet may still be on its way through another node.
            if moved == wanted or time.monotonic() > deadline:
                break
        assert moved == wanted, f"moved: {moved}, expected: {wanted}"

    def replace(self, node: str, values: Mapping[str, Any]) -> None:
        """A rollout on one node: the new pod starts, is ready, and only then the old one leaves."""
        pod = AgentPod(self.lab, node, render(values))
        pod.start()
        pod.wait_ready()
        self.pods[node].stop()
        self.pods[node] = pod


@contextlib.contextmanager
def govern(lab: Lab, values: Mapping[str, Any], *nodes: str) -> Iterator[Governed]:
    """The policy in force on these nodes (default: node); at the end the agents release them."""
    governed = Governed(lab, {})
    documents = render(values)
    try:
        for node in nodes or ("node",):
            pod = AgentPod(lab, node, documents)
            pod.start()
            governed.pods[node] = pod
        for pod in governed.pods.values():
            pod.wait_ready()
        yield governed
    finally:
        for pod in governed.pods.values():
            pod.stop()


def address(lab: Lab, target: str | Pair, family: Family) -> str:
    """The address of a namespace, or the pair's."""
    return target.of(family) if isinstance(target, Pair) else lab.address(target, family)


def counters(lab: Lab, node: str) -> dict[str, int]:
    """Packets by counter of our rules on one node, whichever backend they are of."""
    with TableCounters(lab.ns(node), "udp_security") as ours:
        found = ours.packets()
    run = functools.partial(lab.run, node)
    return found or iptables.counters(run, "nft") or iptables.counters(run, "legacy")


@dataclass(frozen=True)
class Row:
    """One request, sent once over each family. ``{v}`` in ``name`` becomes v4 or v6.

    ``source`` is a namespace, ``target`` too, or an address, with ``target_in`` where nobody in the
    lab has it by name. ``node`` and ``node2`` are the counters that move there.
    """

    name: str
    source: str
    target: str | Pair
    port: int
    fate: Fate
    node: Counters = field(default_factory=dict)
    node2: Counters = field(default_factory=dict)
    source_address: Pair | None = None
    source_port: int = 0
    target_in: str | None = None
    size: int = 32
    families: Sequence[Family] = FAMILIES

    def id(self, family: Family) -> str:
        """The name of the test."""
        return self.name.format(v=f"v{family}")

    def check(self, governed: Governed, family: Family) -> None:
        """Send the request, and fail unless its fate and the counters are as the row says."""
        with governed.moves(node=self.node, node2=self.node2):
            outcome = self.send(governed.lab, family)
        assert outcome == self.outcome, outcome

    @property
    def outcome(self) -> Outcome:
        """What ``send`` should see."""
        return Outcome(
            delivered=self.fate in ("answered", "unanswered"),
            replied=self.fate == "answered",
            unreachable=self.fate == "rejected",
        )

    def send(self, lab: Lab, family: Family) -> Outcome:
        """Send the request, and if it is delivered the answer."""
        with lab.stream(
            self.source,
            address(lab, self.target, family),
            self.port,
            src_addr=self.source_address.of(family) if self.source_address else None,
            src_port=self.source_port,
            dst_ns=self.target_in,
        ) as stream:
            if self.fate == "unanswered":
                request = stream.send(reply=False, size=self.size, timeout=PATIENCE)
                answered = stream.answer(size=self.size, timeout=DENIED_WAIT)
                return replace(request, replied=answered)
            timeout = PATIENCE if self.fate == "answered" else DENIED_WAIT
            return stream.send(size=self.size, timeout=timeout)


def each_row(rows: Iterable[Row]) -> pytest.MarkDecorator:
    """The test runs once for each row and family, named by the row."""
    return pytest.mark.parametrize(
        ("row", "family"),
        [pytest.param(row, family, id=row.id(family)) for row in rows for family in row.families],
    )


def each_row_under(tables: Mapping[str, Iterable[Row]]) -> pytest.MarkDecorator:
    """Likewise for several policies: the fixture ``governed`` gets the table's name."""
    return pytest.mark.parametrize(
        ("governed", "row", "family"),
        [
            pytest.param(policy, row, family, id=f"{policy}-{row.id(family)}")
            for policy, rows in tables.items()
            for row in rows
            for family in row.families
        ],
        indirect=["governed"],
        # Keeps rows of one policy together.
        scope="module",
    )


each_family = pytest.mark.parametrize("family", FAMILIES, ids=("v4", "v6"))
