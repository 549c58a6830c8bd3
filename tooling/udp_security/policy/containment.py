# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Many networks, or flows, and which of them hold or have an address, without trying each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from udp_security.policy.denied import DeniedFlow
from udp_security.policy.model import Address, Direction, Network

_WIDTH: Final = {4: 32, 6: 128}


class Networks:
    """A set of networks of both families."""

    def __init__(self, nets: Iterable[Network]) -> None:
        self._prefixes: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for net in nets:
            prefix = _prefix(int(net.network_address), net.version, net.prefixlen)
            self._prefixes[net.version, net.prefixlen].add(prefix)

    def hold(self, address: Address) -> bool:
        """Whether one of them holds the address."""
        return self._hold(int(address), address.version, _WIDTH[address.version])

    def hold_around(self, net: Network) -> bool:
        """Whether one of them is wider than the network and holds all of it."""
        return self._hold(int(net.network_address), net.version, net.prefixlen - 1)

    def _hold(self, address: int, version: int, longest: int) -> bool:
        return any(
            family == version
            and length <= longest
            and _prefix(address, version, length) in prefixes
            for (family, length), prefixes in self._prefixes.items()
        )


class FlowIndex:
    """Denied flows, looked up by what a rule names."""

    def __init__(self, flows: Sequence[DeniedFlow]) -> None:
        self._flows = flows
        places: defaultdict[tuple[Direction, int], list[int]] = defaultdict(list)
        for place, flow in enumerate(flows):
            places[flow.direction, flow.port].append(place)
        self._by_port = {
            key: (
                _Ends([(flows[place].source, place) for place in found]),
                _Ends([(flows[place].destination, place) for place in found]),
            )
            for key, found in places.items()
        }

    def between(
        self,
        direction: Direction,
        sources: Sequence[Network],
        destinations: Sequence[Network],
        ports: Iterable[int],
    ) -> list[DeniedFlow]:
        """Those of all systems, in the order in which they were given."""
        from_, to = Networks(sources), Networks(destinations)
        found = []
        for port in ports:
            if ends := self._by_port.get((direction, port)):
                by_source, by_destination = ends[0].within(sources), ends[1].within(destinations)
                for place in min(by_source, by_destination, key=len):
                    flow = self._flows[place]
                    if from_.hold(flow.source) and to.hold(flow.destination):
                        found.append(place)
        return [self._flows[place] for place in sorted(found)]


class _Ends:
    """Places of flows by one of their ends."""

    def __init__(self, ends: Iterable[tuple[Address, int]]) -> None:
        found = sorted((end.version, int(end), place) for end, place in ends)
        self._ends = [each[:2] for each in found]
        self._places = [each[2] for each in found]

    def within(self, nets: Iterable[Network]) -> list[int]:
        """The places of those in networks of which none holds another."""
        found: list[int] = []
        for net in nets:
            first = int(net.network_address)
            last = first + (1 << _WIDTH[net.version] - net.prefixlen) - 1
            low = bisect_left(self._ends, (net.version, first))
            found += self._places[low : bisect_right(self._ends, (net.version, last))]
        return found


def _prefix(address: int, version: int, length: int) -> int:
    return address >> _WIDTH[version] - length
