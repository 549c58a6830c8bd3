# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Sets of flows as boxes, and what of them one policy allows and another does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Literal

from udp_security.policy.cubes import Cube, cover, subtract
from udp_security.policy.intervals import Axis, Bounds, bits, complement, intervals, union
from udp_security.policy.model import (
    SYSTEMS,
    Direction,
    Network,
    OperatingSystem,
    Policy,
    PortRange,
    networks,
)

Family = Literal[4, 6]
Policies = Mapping[OperatingSystem, Policy]

_WIDTH: Final = {4: 32, 6: 128}
_PORTS: Final[Bounds] = (1, 1 << 16)
_LOOPBACK: Final = networks(["127.0.0.0/8", "::1"])


@dataclass(frozen=True)
class Box:
    """Flows of one direction and address family: each source to each destination on each port.

    The lists ascend and are as short as can be; 0.0.0.0/0 and ::/0 are any address.
    """

    direction: Direction
    systems: tuple[OperatingSystem, ...]
    sources: tuple[Network, ...]
    destinations: tuple[Network, ...]
    ports: tuple[PortRange, ...]


@dataclass(frozen=True)
class _Product:
    """Flows that something allows, as bounds."""

    ports: Bounds
    sources: Bounds
    destinations: Bounds


class Space:
    """All flows of one direction and address family, in which policies can be compared.

    Policies are by operating system; one that is missing has no agent and allows all.
    """

    def __init__(self, direction: Direction, family: Family, compared: Iterable[Policies]) -> None:
        self._direction: Direction = direction
        self._family = family
        self._all: Bounds = (0, 1 << _WIDTH[family])
        # What passes through a Windows host is never judged.
        self._systems = SYSTEMS if direction != "forward" else SYSTEMS[:1]
        # No policy has a say in what a node sends itself.
        own = self._bounds(_LOOPBACK)
        self._loopback = _Product(_PORTS, own, own)
        allowed = [self._allowed(policies) for policies in compared]
        self._grid = _Grid([self._loopback, *(product for found in allowed for product in found)])
        self._compared = [
            {self._grid.cube(product, systems) for product, systems in found.items()}
            for found in allowed
        ]

    def boxes(self, inside: int, outside: int) -> list[Box]:
        """What one of the compared policies (by its place) allows and another denies."""
        first, second = self._compared[inside], self._compared[outside]
        changed = [
            (self._grid.product(cube), cube[-1])
            for cube in subtract(sorted(first - second), sorted(second))
        ]
        # Where the policies' rules begin and end no longer matters.
        grid = _Grid([self._loopback, *(product for product, _ in changed)])
        ignorable = []
        if self._direction != "forward":
            ignorable.append(grid.cube(self._loopback, (1 << len(SYSTEMS)) - 1))
        covering = cover([grid.cube(*each) for each in changed], ignorable, grid.shorten)
        return sorted((self._box(grid.product(cube), cube[-1]) for cube in covering), key=_order)

    def _allowed(self, policies: Policies) -> dict[_Product, int]:
        """What each system's policy allows: products, and a bit for each system."""
        found: dict[_Product, int] = {}
        for number, system in enumerate(self._systems):
            for product in self._products(policies.get(system)):
                found[product] = found.get(product, 0) | 1 << number
        return found

    def _products(self, policy: Policy | None) -> Iterator[_Product]:
        if policy is None:
            yield _Product(_PORTS, self._all, self._all)
            return
        if policy.scope == "cluster" and (outside := self._outside(policy)):
            # These ends are not in the cluster, so the flow is not judged.
            yield _Product(
                _PORTS,
                self._all if self._direction == "egress" else outside,
                self._all if self._direction == "ingress" else outside,
            )
        for rule in policy.rules:
            if rule.direction == self._direction:
                sources, destinations = map(self._bounds, (rule.sources, rule.destinations))
                if sources and destinations:
                    ports = union(ends for ends in rule.ports if ends[0] <= ends[1])
                    yield _Product(tuple(ports), sources, destinations)

    def _outside(self, policy: Policy) -> Bounds:
        return complement(self._bounds(policy.cluster.networks), *self._all)

    def _bounds(self, given: Sequence[Network] | None) -> Bounds:
        return self._all if given is None else _bounds(given, self._family)

    def _box(self, product: _Product, systems: int) -> Box:
        return Box(
            self._direction,
            tuple(self._systems[number] for number in bits(systems)),
            _networks(product.sources, self._family),
            _networks(product.destinations, self._family),
            tuple(intervals(product.ports)),
        )


class _Grid:
    """Turns products, with bits for systems, into cubes and back."""

    def __init__(self, products: Sequence[_Product]) -> None:
        """Any other product must be made of the same sets."""
        self._axes = (
            Axis(product.ports for product in products),
            Axis(product.sources for product in products),
            Axis(product.destinations for product in products),
        )

    def cube(self, product: _Product, systems: int) -> Cube:
        sets = (product.ports, product.sources, product.destinations)
        return (*(axis.side(set_) for axis, set_ in zip(self._axes, sets, strict=True)), systems)

    def product(self, cube: Cube) -> _Product:
        return _Product(*(axis.bounds(side) for axis, side in zip(self._axes, cube, strict=False)))

    def shorten(self, axis: int, side: int, needed: int) -> int:
        """As Axis.shorten; of systems only those needed stay."""
        return self._axes[axis].shorten(side, needed) if axis < len(self._axes) else needed


def besides(networks: Sequence[Network]) -> tuple[Network, ...]:
    """All other addresses of the family that all of them, at least one, are of."""
    family = networks[0].version
    return _networks(complement(_bounds(networks, family), 0, 1 << _WIDTH[family]), family)


def _bounds(networks: Iterable[Network], family: Family) -> Bounds:
    """Those of the family, as numbers."""
    found = []
    for network in networks:
        if network.version == family:
            first = int(network.network_address)
            found.append((first, first + (1 << _WIDTH[family] - network.prefixlen) - 1))
    return tuple(union(found))


def _networks(bounds: Bounds, family: Family) -> tuple[Network, ...]:
    """The fewest CIDRs that make up a set of addresses."""
    kind = IPv4Network if family == 4 else IPv6Network
    return tuple(kind(block) for block in _blocks(bounds, _WIDTH[family]))


def _blocks(bounds: Bounds, width: int) -> Iterator[tuple[int, int]]:
    """(first address, prefix length) of each."""
    for first, last in intervals(bounds):
        begin = first
        while begin <= last:
            # As large as its first address is aligned, and as what is left.
            room = (last - begin + 1).bit_length() - 1
            size = min(room, (begin & -begin).bit_length() - 1) if begin else room
            yield begin, width - size
            begin += 1 << size


def _order(box: Box) -> tuple[object, ...]:
    return box.ports, box.sources, box.destinations, box.systems
