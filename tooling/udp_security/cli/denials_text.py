# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Denials as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from udp_security.cli.fleet import age
from udp_security.cli.tables import table
from udp_security.cluster.denials import Denials, reasons
from udp_security.cluster.following import Growth
from udp_security.cluster.rollout import few
from udp_security.policy.denied import DeniedFlow, DeniedPort, time_text
from udp_security.policy.model import Address, address_text

#: How long nodes remember a flow.
REMEMBERED = timedelta(hours=1)
_FLOWS = ("DIRECTION", "FROM", "TO", "PORT", "PACKETS", "LAST", "NODES")
_PORTS = ("DIRECTION", "PORT", "PACKETS", "LAST", "NODES")


def lines(found: Denials, limit: int) -> Iterator[str]:
    """A sentence and the table of flows; where flows are missing, that of ports as well."""
    yield _headline(found)
    if found.flows:
        rows = [_row(flow, found.time) for flow in found.flows[:limit]]
        yield from _table([_FLOWS, *rows], len(found.flows) - limit)
    if found.ports and any(node.available and node.reason for node in found.nodes):
        yield ""
        yield "By port, with flows that may be missing above:"
        rows = [_port_row(port, found.time) for port in found.ports[:limit]]
        yield from _table([_PORTS, *rows], len(found.ports) - limit)


def notes(found: Denials) -> list[str]:
    """Which nodes tell nothing, or not all, and why; what has no names."""
    return [*reasons(found.nodes), *found.notes]


def line(when: datetime, growth: Growth) -> str:
    """What --follow prints of a flow."""
    flow = growth.flow
    denied = "would deny" if growth.mode == "audit" else "denied"
    source, destination = _ends(flow, "({})")
    return (
        f"{time_text(when)} {flow.direction} {source} -> {destination} port {flow.port}: "
        f"{few(flow.nodes)} {denied} {_packets(growth.packets)} ({flow.packets} in all)"
    )


def _headline(found: Denials) -> str:
    since = found.since if found.since and found.since <= REMEMBERED else None
    when = f"in the last {duration_text(since) if since else 'hour'}"
    telling = [node for node in found.nodes if node.available]
    if not telling:
        return "No node tells what it denied."
    if not found.flows:
        return f"Nothing was denied {when} ({len(telling)} of {len(found.nodes)} nodes tell)."
    denying = [node for node in telling if node.flows]
    audit = [node.node for node in denying if node.mode == "audit"]
    # A node does not remember in which mode it was when it saw a flow.
    if len(audit) == len(denying):
        return f"Would be denied, but pass now (mode audit); seen {when}:"
    return f"Denied {when}{f' (but pass now on {few(audit)}: mode audit)' if audit else ''}:"


def _row(flow: DeniedFlow, now: datetime) -> Sequence[str]:
    return (
        flow.direction,
        *_ends(flow, "{}"),
        str(flow.port),
        str(flow.packets),
        _ago(flow.last_seen, now),
        few(flow.nodes),
    )


def _port_row(port: DeniedPort, now: datetime) -> Sequence[str]:
    last = _ago(port.last_seen, now)
    return port.direction, str(port.port), str(port.packets), last, few(port.nodes)


def _ends(flow: DeniedFlow, name: str) -> tuple[str, str]:
    def end(address: Address, known: str | None) -> str:
        return " ".join((address_text(address), *([name.format(known)] if known else ())))

    return end(flow.source, flow.source_name), end(flow.destination, flow.destination_name)


def _packets(count: int) -> str:
    return "1 packet" if count == 1 else f"{count} packets"


def _ago(seen: datetime | None, now: datetime) -> str:
    return f"{age(seen, now)} ago" if seen else "-"


def duration_text(time: timedelta) -> str:
    """As --since takes it."""
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def _table(rows: Sequence[Sequence[str]], more: int) -> Iterator[str]:
    yield from table(rows)
    if more > 0:
        yield f"and {more} more (-o json shows all)"
