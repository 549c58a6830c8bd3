# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Looking things up among many networks and flows, against trying each."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import examples
from tests.unit.denials import denied

from udp_security.policy.containment import FlowIndex, Networks
from udp_security.policy.merging import Widening, distinct, widened
from udp_security.policy.model import Address, Network
from udp_security.policy.oracle import contains

# Close together, so that they meet.
NUMBERS = st.integers(0, 15)
BASES = {4: "10.0.0.{:d}", 6: "fd00::{:x}"}
ADDRESSES = st.builds(lambda f, n: ip_address(BASES[f].format(n)), st.sampled_from([4, 6]), NUMBERS)


def net(address: Address, bits: int) -> Network:
    """The network of 2^bits addresses that the address is in."""
    return ip_network((int(address), address.max_prefixlen - bits), strict=False)


def apart(nets: list[Network], family: int) -> frozenset[Network]:
    """Those of a family that lie in no other one."""
    return distinct(each for each in nets if each.version == family)


NETWORKS = st.lists(st.builds(net, ADDRESSES, st.integers(0, 3)), max_size=6)


@examples(200)
@given(NETWORKS, ADDRESSES, st.integers(0, 3))
def test_networks(nets: list[Network], address: Address, bits: int) -> None:
    assert Networks(nets).hold(address) == contains(nets, address)
    inner = net(address, bits)
    around = [n for n in nets if n.prefixlen < inner.prefixlen and contains([n], address)]
    assert Networks(nets).hold_around(inner) == any(n.version == inner.version for n in around)


@examples(100)
@given(
    st.lists(st.tuples(ADDRESSES, NUMBERS, st.integers(1, 3)), max_size=30),
    NETWORKS,
    NETWORKS,
    st.sets(st.integers(1, 3)),
)
def test_flow_index(
    ends: list[tuple[Address, int, int]],
    sources: list[Network],
    destinations: list[Network],
    ports: set[int],
) -> None:
    flows = [
        denied("egress", str(source), BASES[source.version].format(number), port)
        for source, number, port in ends
    ]
    near, far = ([*apart(nets, 4), *apart(nets, 6)] for nets in (sources, destinations))
    assert FlowIndex(flows).between("egress", near, far, ports) == [
        flow
        for flow in flows
        if flow.port in ports
        and contains(sources, flow.source)
        and contains(destinations, flow.destination)
    ]
    assert FlowIndex(flows).between("ingress", near, far, ports) == []


@examples(100)
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, st.just(7)), max_size=20), st.sampled_from([32, 30, 28])
)
def test_no_widened_cell_lies_in_another(ends: list[tuple[int, int, int]], length: int) -> None:
    flows = [
        (ip_address(BASES[4].format(source)), ip_address(BASES[4].format(destination)), port)
        for source, destination, port in ends
    ]
    cells = widened(flows, Widening({4: length, 6: 128}, {}))
    for source, destination, _ in flows:
        assert any(source in cell[0] and destination in cell[1] for cell in cells)
    for cell in cells:
        assert not any(
            cell != other and all(a.subnet_of(b) for a, b in zip(cell[:2], other[:2], strict=True))  # type: ignore[arg-type]
            for other in cells
        )
