# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A model of what Windows Defender Firewall does with a flow, as Microsoft documents it.

Explicit block rules beat explicit allow rules, these beat the profile's default action, inbound
and outbound; the order of rules means nothing. The one thing above a block, an allow rule that
IPsec authenticates, is not modelled: no rule here can be one. Nothing here asks Windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from udp_security.policy.model import Address
from udp_security.windows.intervals import address_bounds, bounds_of, inside, number, port_bounds

Direction = Literal["ingress", "egress"]
Action = Literal["Allow", "Block"]

ANY: Final = ("Any",)
EPHEMERAL: Final = 49152  # the first of Windows' default dynamic ports

_SIDES: Final[dict[Direction, Literal["Inbound", "Outbound"]]] = {
    "ingress": "Inbound",
    "egress": "Outbound",
}
_LOOPBACK: Final = bounds_of(["127.0.0.0/8", "::1"])
_PROTOCOLS: Final = {"icmpv4": "1", "tcp": "6", "udp": "17", "icmpv6": "58"}
# What a profile does that was not told: the system's own default.
_DEFAULTS: Final[dict[str, Action]] = {"Inbound": "Block", "Outbound": "Allow"}


@dataclass(frozen=True)
class FirewallRule:
    """One rule with its filters, each value as the cmdlets print it."""

    name: str
    direction: Literal["Inbound", "Outbound"]
    action: Action
    protocol: str = "Any"
    local_ports: tuple[str, ...] = ANY
    remote_ports: tuple[str, ...] = ANY
    local_addresses: tuple[str, ...] = ANY
    remote_addresses: tuple[str, ...] = ANY
    enabled: bool = True
    profiles: tuple[str, ...] = ANY
    program: str = "Any"
    service: str = "Any"
    interface: str = "Any"
    store: Literal["Local", "GroupPolicy"] = "Local"


@dataclass(frozen=True)
class Profile:
    """A network profile's settings that are in effect."""

    name: str
    enabled: bool = True
    default_inbound: Literal["Allow", "Block", "NotConfigured"] = "NotConfigured"
    default_outbound: Literal["Allow", "Block", "NotConfigured"] = "NotConfigured"
    allow_local_rules: bool = True

    def default(self, side: Literal["Inbound", "Outbound"]) -> Action:
        """What becomes of a flow that no rule names."""
        set_ = self.default_inbound if side == "Inbound" else self.default_outbound
        return _DEFAULTS[side] if set_ == "NotConfigured" else set_


PROFILES: Final = tuple(Profile(name) for name in ("Domain", "Private", "Public"))


@dataclass(frozen=True)
class Verdict:
    """Whether a flow passes, why in words, and the rule that decided, if one did."""

    allowed: bool
    reason: str
    rule: FirewallRule | None = None


class Firewall:
    """The firewall of one computer, seen by flows through an interface of profile ``active``.

    ``local_subnets`` are what ``LocalSubnet`` stands for there; other address and port keywords
    stand for nothing. ``running`` is False when the firewall's service is stopped. ValueError for
    rules with ports or addresses that Windows would not print and for an unknown profile.
    """

    def __init__(
        self,
        rules: Iterable[FirewallRule],
        profiles: Sequence[Profile] = PROFILES,
        active: str = "Public",
        local_subnets: Sequence[str] = (),
        running: bool = True,
    ) -> None:
        named = {profile.name: profile for profile in profiles}
        if active not in named:
            raise ValueError(f"no profile {active!r} among {', '.join(named) or 'none'}")
        self._profile = named[active]
        self._running = running
        applying = [rule for rule in rules if self._applies(rule)]
        applying.sort(key=lambda rule: rule.action != "Block")
        self._matchers = [_Matcher(rule, local_subnets) for rule in applying]
        self._candidates: dict[tuple[str, str, int], list[_Matcher]] = {}

    def admits(
        self,
        direction: Direction,
        source: Address | str,
        destination: Address | str,
        port: int,
        *,
        protocol: str = "UDP",
        source_port: int = EPHEMERAL,
        program: str | None = None,
        service: str | None = None,
        interface: str | None = None,
    ) -> Verdict:
        """Judges a flow by its first packet, to ``port`` at the destination.

        A rule that is restricted to a program, a service or an interface judges only flows that
        say they belong to it. ICMP has no ports: any will do.
        """
        if not self._running:
            return Verdict(True, "the firewall is not running")
        if not self._profile.enabled:
            return Verdict(True, f"profile {self._profile.name} is disabled")
        ends = number(source), number(destination)
        if all(inside(_LOOPBACK, end) for end in ends):
            return Verdict(True, "loopback is not filtered")
        side = _SIDES[direction]
        local, remote = ends if side == "Outbound" else ends[::-1]
        belongs = (program, service, interface)
        for matcher in self._named(side, _protocol(protocol), port):
            if (
                (matcher.remote is None or inside(matcher.remote, remote))
                and (matcher.local is None or inside(matcher.local, local))
                and (matcher.source_ports is None or inside(matcher.source_ports, source_port))
                and matcher.governs(belongs)
            ):
                rule = matcher.rule
                return Verdict(rule.action == "Allow", f"{rule.action} rule {rule.name}", rule)
        action = self._profile.default(side)
        return Verdict(
            action == "Allow", f"{side} default of profile {self._profile.name}: {action}"
        )

    def admits_reply(
        self,
        direction: Direction,
        source: Address | str,
        destination: Address | str,
        port: int,
        *,
        protocol: str = "UDP",
        source_port: int = EPHEMERAL,
    ) -> Verdict:
        """Judges the packet that answers a flow, which is described as for :meth:`admits`.

        The firewall is stateful, for UDP too: the answer to an admitted flow passes, whatever the
        rules of its own direction say. Without that flow it is the first packet of another one.
        Rules that changed meanwhile are asked anew about a live flow, so the present ones count.
        """
        asked = self.admits(
            direction, source, destination, port, protocol=protocol, source_port=source_port
        )
        if asked.allowed:
            return Verdict(True, f"reply: {asked.reason}", asked.rule)
        return self.admits(
            "egress" if direction == "ingress" else "ingress",
            destination,
            source,
            source_port,
            protocol=protocol,
            source_port=port,
        )

    def _applies(self, rule: FirewallRule) -> bool:
        """Whether the rule is in force in the active profile."""
        return (
            rule.enabled
            and ("Any" in rule.profiles or self._profile.name in rule.profiles)
            and (self._profile.allow_local_rules or rule.store == "GroupPolicy")
        )

    def _named(self, side: str, protocol: str, port: int) -> list[_Matcher]:
        """The rules that name this port, blocks first."""
        key = (side, protocol, port)
        found = self._candidates.get(key)
        if found is None:
            found = [matcher for matcher in self._matchers if matcher.names(*key)]
            self._candidates[key] = found
        return found


class _Matcher:
    """A rule, read once: its ports and addresses as bounds."""

    def __init__(self, rule: FirewallRule, local_subnets: Sequence[str]) -> None:
        local_ports, remote_ports = port_bounds(rule.local_ports), port_bounds(rule.remote_ports)
        inbound = rule.direction == "Inbound"
        self.rule = rule
        self.local = address_bounds(rule.local_addresses, local_subnets)
        self.remote = address_bounds(rule.remote_addresses, local_subnets)
        self.source_ports = remote_ports if inbound else local_ports
        self._ports = local_ports if inbound else remote_ports
        self._protocol = _protocol(rule.protocol)
        self._restrictions = tuple(
            None if text == "Any" else text.lower()
            for text in (rule.program, rule.service, rule.interface)
        )

    def names(self, side: str, protocol: str, port: int) -> bool:
        """Whether the rule is for this direction, protocol and port of the destination."""
        return (
            self.rule.direction == side
            and self._protocol in ("any", protocol)
            and (self._ports is None or inside(self._ports, port))
        )

    def governs(self, belongs: Sequence[str | None]) -> bool:
        """Whether the rule's restrictions admit a flow of this program, service, interface."""
        return all(
            wanted is None or (given is not None and given.lower() == wanted)
            for wanted, given in zip(self._restrictions, belongs, strict=True)
        )


def _protocol(text: str) -> str:
    """A protocol's number, or ``any``."""
    return _PROTOCOLS.get(text.lower(), text.lower())
