# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What `denials --follow` takes for new."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address

from udp_security.cluster.following import Memory
from udp_security.cluster.node_denials import NodeDenials
from udp_security.policy.denied import DeniedFlow

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


def told(node: str, *flows: tuple[int, int, int | None]) -> NodeDenials:
    """Flows as (port, packets, seconds after BEGIN)."""
    return NodeDenials(
        node,
        "linux",
        "audit",
        available=True,
        flows=tuple(
            DeniedFlow(
                direction="ingress",
                source=ip_address("10.0.0.7"),
                destination=ip_address("172.19.1.100"),
                port=port,
                packets=packets,
                bytes=0,
                os="linux",
                nodes=(node,),
                last_seen=None if after is None else BEGIN + timedelta(seconds=after),
                source_name=None,
                destination_name=None,
            )
            for port, packets, after in flows
        ),
    )


def growth(memory: Memory, denials: NodeDenials) -> list[tuple[int, int, int]]:
    """(port, new packets, all packets)."""
    return [(g.flow.port, g.packets, g.flow.packets) for g in memory.growth(denials)]


def test_what_was_denied_before_is_not_new() -> None:
    memory = Memory(BEGIN)
    assert growth(memory, told("a", (1, 5, -1), (2, 7, 0), (3, 9, None))) == [(2, 7, 7)]


def test_new_and_growing_flows_once_and_in_the_order_of_time() -> None:
    memory = Memory(BEGIN)
    assert growth(memory, told("a", (1, 5, -10))) == []
    now = told("a", (1, 6, 4), (2, 3, 2))
    assert growth(memory, now) == [(2, 3, 3), (1, 1, 6)]
    assert growth(memory, now) == []


def test_a_flow_that_was_forgotten_begins_anew() -> None:
    memory = Memory(BEGIN)
    memory.growth(told("a", (1, 5, -10)))
    assert growth(memory, told("a", (1, 2, 9))) == [(1, 2, 2)]
    assert growth(memory, told("a")) == []
    assert growth(memory, told("a", (1, 2, 30))) == [(1, 2, 2)]


def test_each_node_has_its_own_count() -> None:
    memory = Memory(BEGIN)
    assert growth(memory, told("a", (1, 5, 1))) == [(1, 5, 5)]
    assert growth(memory, told("b", (1, 6, 2))) == [(1, 6, 6)]
    assert growth(memory, told("a", (1, 6, 3))) == [(1, 1, 6)]


def test_the_mode_is_the_nodes() -> None:
    (found,) = Memory(BEGIN).growth(told("a", (1, 5, 1)))
    assert (found.mode, found.flow.nodes) == ("audit", ("a",))
