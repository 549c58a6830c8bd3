# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""From single addresses and ports to as few blocks as a person would write rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import Final, NamedTuple

from udp_security.policy.containment import Networks
from udp_security.policy.model import Address, Network, PortRange, network

#: One source, one destination, one port; the addresses are of one family.
Cell = tuple[Network, Network, int]


class Block(NamedTuple):
    """Every source to every destination on every port."""

    sources: frozenset[Network]
    destinations: frozenset[Network]
    ports: frozenset[int]


@dataclass(frozen=True)
class Widening:
    """How wide a network may become: prefix lengths by family; 32 and 128 leave addresses alone.

    `fixed` are networks that stand for an address, whatever else was seen.
    """

    prefixes: Mapping[int, int]
    fixed: Mapping[Address, Network]

    def networks(self, addresses: Collection[Address]) -> frozenset[Network]:
        """Networks that hold the addresses of one family.

        What shares a widest network becomes the narrowest network that holds it, so that one
        address alone stays one.
        """
        found = {self.fixed[address] for address in addresses if address in self.fixed}
        buckets: defaultdict[Network, list[Address]] = defaultdict(list)
        for address in addresses:
            if address not in self.fixed:
                buckets[self.widest(address)].append(address)
        found.update(map(_common, buckets.values()))
        return distinct(found)

    def widest(self, address: Address) -> Network:
        """The widest network that the address may become part of."""
        return network(f"{address}/{self.prefixes[address.version]}")


def widened(flows: Iterable[tuple[Address, Address, int]], widening: Widening) -> frozenset[Cell]:
    """Flows (source, destination, port) of one family in networks.

    Sources of the same destination and port are widened together, then the destinations of the
    same sources and port: nothing is opened between ends that were never seen together, but within
    those networks.
    """
    sources: defaultdict[tuple[Address, int], set[Address]] = defaultdict(set)
    for source, destination, port in flows:
        sources[destination, port].add(source)
    destinations: defaultdict[tuple[Network, int], set[Address]] = defaultdict(set)
    for (destination, port), addresses in sources.items():
        for net in widening.networks(addresses):
            destinations[net, port].add(destination)
    cells = {
        (source, destination, port)
        for (source, port), addresses in destinations.items()
        for destination in widening.networks(addresses)
    }
    lengths = {_lengths(cell) for cell in cells}
    exact = {_key(cell, *_lengths(cell)) for cell in cells}
    return frozenset(
        cell
        for cell in cells
        if not any(
            _key(cell, *wider) in exact
            for wider in lengths
            if wider != (own := _lengths(cell)) and wider[0] <= own[0] and wider[1] <= own[1]
        )
    )


def blocks(cells: Iterable[Cell]) -> list[Block]:
    """As few blocks as greedy merging finds that hold these cells and nothing else.

    No two of them could be one. (The least possible number is another matter, an NP-hard one.)
    """
    single = [
        Block(frozenset([source]), frozenset([destination]), frozenset([port]))
        for source, destination, port in cells
    ]
    tries = [_merged(single, order) for order in permutations(range(3))]
    return min(
        tries, key=lambda found: (len(found), sum(len(part) for block in found for part in block))
    )


def distinct(nets: Iterable[Network]) -> frozenset[Network]:
    """Those of one family that lie in no other one."""
    found = frozenset(nets)
    held = Networks(found)
    return frozenset(net for net in found if not held.hold_around(net))


def port_ranges(ports: Iterable[int]) -> list[PortRange]:
    """Ports as ranges without a gap, from low to high."""
    ranges: list[PortRange] = []
    for port in sorted(ports):
        if ranges and ranges[-1][1] == port - 1:
            ranges[-1] = (ranges[-1][0], port)
        else:
            ranges.append((port, port))
    return ranges


_PARTS: Final = range(3)


def _merged(single: list[Block], order: tuple[int, ...]) -> list[Block]:
    """Joins blocks that differ in one part alone: in this order of parts, until none do."""
    found = single
    while True:
        before = len(found)
        for part in order:
            groups: defaultdict[tuple[frozenset[object], ...], list[Block]] = defaultdict(list)
            for block in found:
                groups[tuple(block[other] for other in _PARTS if other != part)].append(block)
            found = [
                _joined(group, part) if len(group) > 1 else group[0] for group in groups.values()
            ]
        if len(found) == before:
            return found


def _joined(group: list[Block], part: int) -> Block:
    parts: list[frozenset[object]] = list(group[0])
    parts[part] = frozenset().union(*(block[part] for block in group))
    return Block(*parts)  # type: ignore[arg-type]


def _common(addresses: Collection[Address]) -> Network:
    """The narrowest network that holds all of them."""
    first, last = min(map(int, addresses)), max(map(int, addresses))
    some = next(iter(addresses))
    return network(f"{some}/{some.max_prefixlen - (first ^ last).bit_length()}")


def _lengths(cell: Cell) -> tuple[int, int]:
    return cell[0].prefixlen, cell[1].prefixlen


def _key(cell: Cell, source: int, destination: int) -> tuple[int, ...]:
    """The cell, or the wider one of these prefix lengths that holds it."""
    ends = [
        (length, int(net.network_address) >> net.max_prefixlen - length)
        for net, length in zip(cell[:2], (source, destination), strict=True)
    ]
    return (*ends[0], *ends[1], cell[2])
