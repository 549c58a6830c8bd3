# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The rules of the published reference DaemonSet for Windows: two a direction.

They are meant to block all UDP but DNS. A block beats every allow in Windows Firewall, so they
block DNS as well.
"""

from __future__ import annotations

from typing import Final

from udp_security.windows.firewall import FirewallRule

RULES: Final = (
    FirewallRule("block all UDP out", "Outbound", "Block", "UDP"),
    FirewallRule("allow DNS out", "Outbound", "Allow", "UDP", remote_ports=("53",)),
    FirewallRule("block all UDP in", "Inbound", "Block", "UDP"),
    FirewallRule("allow DNS in", "Inbound", "Allow", "UDP", local_ports=("53",)),
)
