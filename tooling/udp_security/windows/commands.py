# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Firewall rules as commands that make the same ones as the agent, to be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from udp_security.windows.firewall import ANY, FirewallRule


def as_commands(rules: Iterable[FirewallRule]) -> str:
    """A New-NetFirewallRule command for each rule, one parameter a line, ``Any`` left out."""
    return "\n".join(" `\n    ".join(_command(rule)) + "\n" for rule in rules)


def _command(rule: FirewallRule) -> Iterator[str]:
    yield f"New-NetFirewallRule -Name {rule.name} -DisplayName {rule.name} -Group udp-security"
    yield f"-Direction {rule.direction} -Action {rule.action} -Protocol {rule.protocol}"
    for parameter, texts in (
        ("LocalPort", rule.local_ports),
        ("RemotePort", rule.remote_ports),
        ("LocalAddress", rule.local_addresses),
        ("RemoteAddress", rule.remote_addresses),
    ):
        if texts != ANY:
            # Quoted, or PowerShell would take 1-52 for a subtraction.
            yield f"-{parameter} " + ", ".join(f"'{text}'" for text in texts)
