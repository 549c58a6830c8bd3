# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A policy as one operating system sees it: presets expanded, addresses and ports read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, Literal

from udp_security.policy import data

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
PortRange = tuple[int, int]
Direction = Literal["ingress", "egress", "forward"]
OperatingSystem = Literal["linux", "windows"]

DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress", "forward")
SYSTEMS: tuple[OperatingSystem, ...] = ("linux", "windows")
ALL_SYSTEMS = frozenset(SYSTEMS)
#: The values under `cluster` that hold the cluster's own addresses: pods, services, nodes.
CLUSTER_KEYS = ("podCIDRs", "serviceCIDRs", "nodeCIDRs")


@dataclass(frozen=True)
class Flow:
    """One UDP flow, as its first packet tells: who asks, whom, on which port, and the node's part.

    ``destination`` and ``port`` are those behind kube-proxy's translation on Linux, and those that
    the process used on Windows.
    """

    direction: Direction
    source: Address
    destination: Address
    port: int


@dataclass(frozen=True)
class Rule:
    """One entry of the allow list. ``sources`` and ``destinations`` are None for any address."""

    name: str
    direction: Direction
    ports: tuple[PortRange, ...]
    sources: tuple[Network, ...] | None = None
    destinations: tuple[Network, ...] | None = None
    os: frozenset[OperatingSystem] = ALL_SYSTEMS
    description: str = ""
    path: tuple[str | int, ...] = field(default=(), compare=False)

    @classmethod
    def from_values(cls, given: Mapping[str, Any], path: tuple[str | int, ...] = ()) -> Rule:
        """Reads a rule that the schema has accepted."""
        return cls(
            name=given["name"],
            direction=given["direction"],
            ports=tuple(port_range(port) for port in given["ports"]),
            sources=networks(given["from"]) if given.get("from") else None,
            destinations=networks(given["to"]) if given.get("to") else None,
            os=frozenset(given.get("os") or ALL_SYSTEMS),
            description=given.get("description", ""),
            path=path,
        )


@dataclass(frozen=True)
class Cluster:
    """The cluster's own addresses."""

    pods: tuple[Network, ...]
    services: tuple[Network, ...]
    nodes: tuple[Network, ...]

    @property
    def networks(self) -> tuple[Network, ...]:
        """All of them: what ``scope: cluster`` judges."""
        return self.pods + self.services + self.nodes


@dataclass(frozen=True)
class Policy:
    """What one operating system's nodes enforce."""

    mode: Literal["enforce", "audit"]
    deny_action: Literal["drop", "reject"]
    scope: Literal["host", "cluster"]
    cluster: Cluster
    rules: tuple[Rule, ...]

    @classmethod
    def from_values(cls, values: Mapping[str, Any], os: OperatingSystem = "linux") -> Policy:
        """Reads merged values that the schema accepts; keeps the rules that apply to ``os``."""
        cluster = values["cluster"]
        return cls(
            mode=values["mode"],
            deny_action=values["denyAction"],
            scope=values[os]["scope"],
            cluster=Cluster(
                pods=networks(cluster["podCIDRs"]),
                services=networks(cluster["serviceCIDRs"]),
                nodes=networks(cluster["nodeCIDRs"]),
            ),
            rules=tuple(rule for rule in all_rules(values) if os in rule.os),
        )


def all_rules(values: Mapping[str, Any]) -> Iterable[Rule]:
    """The enabled presets' rules (``preset:dns:egress``), then the user's."""
    for bundle in data.presets():
        preset = bundle["preset"]
        if values["presets"].get(preset):
            for given in bundle["rules"]:
                expanded = {**given, "name": f"preset:{preset}:{given['name']}"}
                for end in ("from", "to"):
                    if end in given:
                        expanded[end] = resolve(given[end], values["cluster"])
                yield Rule.from_values(expanded, ("presets", preset))
    for index, given in enumerate(values["rules"]):
        yield Rule.from_values(given, ("rules", index))


def resolve(texts: Sequence[str], cluster: Mapping[str, Sequence[str]]) -> list[str]:
    """Replaces each ``cluster.<key>`` by that list of the values."""
    resolved: list[str] = []
    for text in texts:
        resolved += (
            cluster[text.removeprefix("cluster.")] if text.startswith("cluster.") else [text]
        )
    return resolved


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """CIDRs and addresses; host bits are cut off here and reported by ``check``."""
    return tuple(network(text) for text in texts)


@lru_cache(maxsize=1 << 16)
def network(text: str) -> Network:
    """One of ``networks``. Kept: every check reads the same texts again, and parsing is slow."""
    return ip_network(text, strict=False)


def canonical(network: Network) -> str:
    """A network as the ruleset writes it: a single address without its prefix length."""
    host = address_text(network.network_address)
    return host if network.prefixlen == network.max_prefixlen else f"{host}/{network.prefixlen}"


def address_text(address: Address) -> str:
    """An address as the ruleset writes it: in hexadecimal also where newer Pythons print dots."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    if mapped is None:
        return str(address)
    high, low = divmod(int(mapped), 1 << 16)
    return f"::ffff:{high:x}:{low:x}"


def port_range(port: int | float | str) -> PortRange:
    """``514``, ``"514"`` or ``"5000-5100"`` as (low, high); the order is checked by ``check``."""
    if isinstance(port, str):
        low, _, high = port.partition("-")
        return int(low), int(high or low)
    return int(port), int(port)
