# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security denials` with packets, and the agent that denies them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final

import pytest
from tests.live.conftest import Live

from udp_security.cluster import following
from udp_security.cluster.client import Client
from udp_security.cluster.following import Growth, follow
from udp_security.lab.addresses import ECHO, Family
from udp_security.policy.denied import DeniedFlow, from_json

Polls = AsyncGenerator[list[Growth | str], None]

PORT: Final = 7001
PATIENCE: Final = 60.0  # seconds


def send(live: Live, source: str, address: str, port: int, *, answered: bool) -> None:
    """A packet; where it is answered, so many are denied twice, for the answer is the flow's."""
    with live.topology.stream(source, address, port) as stream:
        assert stream.send(timeout=5 if answered else 0.2).replied is answered


def told(live: Live, *arguments: str) -> dict[Any, DeniedFlow]:
    """The flows by direction, source, destination and port."""
    done = live.run("denials", "-o", "json", *arguments)
    assert done.exit_code == 0, done.output
    flows = [from_json(item) for item in json.loads(done.stdout)["flows"]]
    return {(f.direction, str(f.source), str(f.destination), f.port): f for f in flows}


def test_flows_of_every_direction_with_names(live: Live) -> None:
    """In audit mode and then in mode enforce, which goes on counting."""
    address = live.topology.address
    four: Family = 4
    outsider, node, pod, other = (
        address(name, four) for name in ("outsider", "node", "pod-a", "pod-b")
    )
    behind, sixes = ECHO.pod, (address("pod-a", 6), address("pod-b", 6))
    live.enforce({"mode": "audit"})
    for source, target, port in (
        ("outsider", node, PORT),
        ("node", outsider, PORT),
        ("pod-a", ECHO.address.v4, ECHO.port),
        ("pod-a", sixes[1], PORT),
    ):
        send(live, source, target, port, answered=True)
    expected = {
        ("ingress", outsider, node, PORT): (None, "node node"),
        ("egress", node, outsider, PORT): ("node node", None),
        ("forward", pod, address(behind, four), ECHO.target_port): (
            "pod lab/pod-a", f"pod lab/{behind}"
        ),
        ("forward", *sixes, PORT): ("pod lab/pod-a", "pod lab/pod-b"),
    }  # fmt: skip
    found = told(live, "--since", "10m")
    assert {key: (f.source_name, f.destination_name) for key, f in found.items()} == expected
    assert {(f.packets, f.nodes, f.os) for f in found.values()} == {(2, ("node",), "linux")}
    assert live.run("denials").stdout.startswith("Would be denied, but pass now (mode audit); ")

    live.enforce({"mode": "enforce"})
    send(live, "outsider", node, PORT, answered=False)
    send(live, "pod-b", outsider, PORT, answered=False)
    again = told(live)
    assert again["ingress", outsider, node, PORT].packets == 3
    assert again["forward", other, outsider, PORT].packets == 1
    assert again["egress", node, outsider, PORT].packets == 2
    assert live.run("denials").stdout.startswith("Denied in the last hour:\n")


def test_as_they_come(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_POLL", 0.1)
    live.enforce({"mode": "enforce"})
    node = live.topology.address("node", 4)

    async def story() -> None:
        async with (
            Client(None, None) as client,
            aclosing(follow(client, 30, timedelta(hours=1))) as polls,
        ):
            # What was denied before shows that the node has been asked.
            send_denied(1)
            await packets_of(polls, 1)
            for count in (1, 3):
                await asyncio.to_thread(send_denied, count)
                assert await packets_of(polls, count) == count

    def send_denied(count: int) -> None:
        for _ in range(count):
            send(live, "outsider", node, PORT + 7, answered=False)

    async def packets_of(polls: Polls, count: int) -> int:
        """How many come until at least so many have."""
        packets = 0
        while packets < count:
            for event in await anext(polls):
                if isinstance(event, Growth) and event.flow.port == PORT + 7:
                    packets += event.packets
        return packets

    asyncio.run(asyncio.wait_for(story(), PATIENCE))
