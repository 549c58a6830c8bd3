# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Denied flows as JSON, and what of it is refused: files and nodes may hold anything."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udp_security.policy.denied import (
    DeniedFlow,
    as_json,
    from_agent,
    from_json,
    port_as_json,
    port_from_agent,
)
from udp_security.policy.model import DIRECTIONS, SYSTEMS

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
ITEM = {
    "direction": "forward",
    "source": "10.244.1.7",
    "destination": "10.244.2.9",
    "port": 514,
    "packets": 12,
    "bytes": 720,
    "os": "linux",
    "nodes": ["linux-a", "linux-b"],
    "lastSeen": "2026-03-01T11:59:18Z",
    "sourceName": "pod ward/gateway-0",
    "destinationName": None,
}
TOLD = {
    "direction": "ingress",
    "source": "10.0.0.7",
    "destination": "172.19.1.100",
    "port": 514,
    "packets": 3,
    "bytes": 180,
    "ago": 42,
}

texts = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=20)
counts = st.integers(0, (1 << 80) - 1)
ends = st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)) | st.tuples(
    st.ip_addresses(v=6), st.ip_addresses(v=6)
)
times = st.datetimes(
    datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc)
).map(lambda time: time.replace(microsecond=0))


@st.composite
def flows(draw: st.DrawFn) -> DeniedFlow:
    source, destination = draw(ends)
    return DeniedFlow(
        direction=draw(st.sampled_from(DIRECTIONS)),
        source=source,
        destination=destination,
        port=draw(st.integers(0, 65535)),
        packets=draw(counts),
        bytes=draw(counts),
        os=draw(st.sampled_from(SYSTEMS)),
        nodes=tuple(draw(st.lists(texts, max_size=3))),
        last_seen=draw(st.none() | times),
        source_name=draw(st.none() | texts),
        destination_name=draw(st.none() | texts),
    )


@given(flows())
def test_it_is_read_as_it_was_written(flow: DeniedFlow) -> None:
    assert from_json(json.loads(json.dumps(as_json(flow)))) == flow


def test_as_json() -> None:
    assert as_json(from_json(ITEM)) == ITEM
    # Newer Pythons would print the end with dots.
    mapped = {**ITEM, "source": "::ffff:102:304", "destination": "::ffff:a00:1"}
    assert as_json(from_json(mapped)) == mapped


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"direction": "in"}, "direction: 'in' is not one of ingress, egress, forward"),
        ({"source": "10.1.2.300"}, "source: '10.1.2.300' is not an IPv4 or IPv6 address"),
        ({"source": 167772161}, "source: 167772161 is not an IPv4 or IPv6 address"),
        # As a zone it would be part of an address.
        ({"source": "fe80::1%\x1b[2J"}, r"source: 'fe80::1%\x1b[2J' is not an IPv4 or IPv6"),
        ({"destination": "fd00::1"}, "destination: fd00::1 is of another address family"),
        ({"port": 65536}, "port: 65536 is not a whole number from 0 to 65535"),
        ({"port": "514"}, "port: '514' is not a whole number"),
        ({"packets": -1}, "packets: -1 is not a whole number"),
        ({"packets": True}, "packets: True is not a whole number"),
        ({"packets": 1e3}, "packets: 1000.0 is not a whole number"),
        ({"bytes": 1 << 80}, "bytes: 1208925819614629174706176 is not a whole number"),
        ({"os": "plan9"}, "os: 'plan9' is not one of linux, windows"),
        ({"nodes": "linux-a"}, "nodes: 'linux-a' is not a list of printable texts"),
        ({"nodes": ["a", "b\nc"]}, r"nodes: ['a', 'b\nc'] is not a list of printable texts"),
        ({"lastSeen": "yesterday"}, "lastSeen: 'yesterday' is not a time as in 2026"),
        ({"lastSeen": "2026-03-01T12:00:00"}, "lastSeen: '2026-03-01T12:00:00' is not a time"),
        ({"sourceName": "\x1b]0;x\x07"}, r"sourceName: '\x1b]0;x\x07' is not a printable text"),
        ({"sourceName": "\u202e"}, r"sourceName: '\u202e' is not a printable text"),
        ({"direction": "x" * 500}, f"direction: '{'x' * 59}... is not one of"),
    ],
)
def test_what_is_no_flow(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        from_json({**ITEM, **change})
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("field", ITEM)
def test_nothing_may_be_missing(field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: is missing$"):
        from_json({name: value for name, value in ITEM.items() if name != field})


@pytest.mark.parametrize("item", [None, [], "flow", 7])
def test_what_is_no_object(item: object) -> None:
    with pytest.raises(ValueError, match="is not an object"):
        from_json(item)


def test_what_an_agent_tells() -> None:
    flow = from_agent(TOLD, "linux-a", NOW)
    assert (flow.source, flow.destination) == (
        IPv4Address("10.0.0.7"), IPv4Address("172.19.1.100")
    )  # fmt: skip
    assert (flow.os, flow.nodes) == ("linux", ("linux-a",))
    assert flow.last_seen == NOW - timedelta(seconds=42)
    port = port_from_agent(TOLD, "linux-a", NOW)
    assert port_as_json(port) == {
        "direction": "ingress",
        "port": 514,
        "packets": 3,
        "bytes": 180,
        "os": "linux",
        "nodes": ["linux-a"],
        "lastSeen": "2026-03-01T11:59:18Z",
    }
    six = from_agent({**TOLD, "source": "fd00::7", "destination": "fd00::1"}, "linux-a", NOW)
    assert six.source == IPv6Address("fd00::7")


def test_an_older_agent_does_not_tell_when() -> None:
    older = {name: value for name, value in TOLD.items() if name != "ago"}
    assert from_agent(older, "linux-a", NOW).last_seen is None


@pytest.mark.parametrize("ago", [-1, 1 << 40, None, "1"])
def test_no_such_time(ago: object) -> None:
    for read in (from_agent, port_from_agent):
        with pytest.raises(ValueError, match=r"^ago: .* is not a whole number"):
            read({**TOLD, "ago": ago}, "linux-a", NOW)
