# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Denied flows for the tests of what is suggested for them."""

from __future__ import annotations

from datetime import datetime, timezone
from ipaddress import ip_address

from udp_security.policy.denied import DeniedFlow
from udp_security.policy.model import Direction, OperatingSystem

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


def denied(
    direction: Direction,
    source: str,
    destination: str,
    port: int,
    packets: int = 100,
    *,
    os: OperatingSystem = "linux",
    names: tuple[str | None, str | None] = (None, None),
) -> DeniedFlow:
    """One flow, as node linux-a tells it. `names`: the source's and the destination's."""
    return DeniedFlow(
        direction=direction,
        source=ip_address(source),
        destination=ip_address(destination),
        port=port,
        packets=packets,
        bytes=packets * 60,
        os=os,
        nodes=("linux-a",),
        last_seen=NOW,
        source_name=names[0],
        destination_name=names[1],
    )
