# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The verdict cache: which packets it lets pass unseen, and what it leaves in conntrack's mark.

The rules are loaded as the chart renders them, so that cached verdicts are trusted at once; when an
agent trusts them is another matter. Probes of another table's look at the mark before our hooks and
behind them.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any, Final

import pytest
from tests.lab.agents import config_data, documents
from tests.lab.counting import Counters
from tests.lab.differential import render
from tests.lab.table import DENIED_WAIT, NO_PRESETS, PATIENCE, each_family
from tests.strategies import LIFELINES

from udp_security.lab.addresses import ECHO, FAMILIES, Family, Pair
from udp_security.lab.netns import Namespace
from udp_security.lab.topology import Lab
from udp_security.lab.wire import Wire
from udp_security.policy import Flow
from udp_security.policy.model import DIRECTIONS, Direction

Values = Mapping[str, Any]
PORT: Final = 5000
OTHERS_BITS: Final = 0x00ABCDEF
VALUES: Final[Mapping[Direction, int]] = {
    "ingress": 0x01000000, "egress": 0x02000000, "forward": 0x03000000
}  # fmt: skip
ENDS: Final[Mapping[Family, tuple[str, str]]] = {
    4: ("198.18.5.1", "198.18.6.1"),
    6: ("2001:db8:5::1", "2001:db8:6::1"),
}
_HOOKS: Final = "".join(
    f"chain {name}-{hook} {{ type filter hook {hook} priority {priority}; jump {name}; }}\n"
    for name, priority in (("first", -50), ("last", 50))
    for hook in ("input", "output", "forward")
)
# Looks at the marks that are not zero before our hooks and behind them. `first` also puts bits of
# its own into the mark, as some other program might, and our own value into that of others' flows.
PROBE: Final = f"""
table inet probe {{
set before {{ type mark; size 64; flags dynamic; }}
set behind {{ type mark; size 64; flags dynamic; }}
set untouched {{ type mark; size 64; flags dynamic; }}
chain first {{
    meta l4proto udp update @before {{ ct mark }}
    meta l4proto udp ct mark set ct mark or {OTHERS_BITS:#010x}
    meta l4proto {{ tcp, icmp, icmpv6 }} ct mark set {VALUES["forward"]:#010x}
}}
chain last {{
    meta l4proto udp update @behind {{ ct mark }}
    meta l4proto {{ tcp, icmp, icmpv6 }} update @untouched {{ ct mark }}
}}
{_HOOKS}
}}
"""


def policy(*directions: Direction, **values: Any) -> dict[str, str]:
    """The chart's files for a policy that allows these directions."""
    rules = [{"name": way, "direction": way, "ports": [PORT]} for way in directions]
    cut = list(LIFELINES)
    return render({"presets": NO_PRESETS, "dangerouslyCutOff": cut, "rules": rules, **values})


def generation(ruleset: str, number: int, slot: int) -> str:
    """The rules as an agent numbers them: the ninth generation may have the values of the first."""

    def value(match: re.Match[str]) -> str:
        return f"{(3 * slot + int(match[1])) << 24:#010x}"

    lines = re.sub(r"(?<=[ @])g0\.", f"g{number}.", ruleset).splitlines(keepends=True)
    return "".join(
        re.sub("0x0([123])000000", value, line) if "ct mark" in line else line for line in lines
    )


@contextlib.contextmanager
def loaded(node: Namespace, *texts: str) -> Iterator[None]:
    """Rules in force; at the end they and the probe are gone."""
    try:
        for text in texts:
            node.run(["nft", "-f", "-"], stdin=text)
        yield
    finally:
        for table in ("udp_security", "probe"):
            node.run(["nft", "delete", "table", "inet", table], check=False)


def marks(node: Namespace, where: str) -> set[int]:
    """The marks that a probe has seen since the last look at it."""
    listing = node.run(["nft", "list", "set", "inet", "probe", where]).stdout
    node.run(["nft", "flush", "set", "inet", "probe", where])
    return {int(mark, 16) for mark in re.findall(r"0x[0-9a-f]{8}", listing)}


@contextlib.contextmanager
def moves(node: Namespace, **expected: int) -> Iterator[None]:
    """Exactly these counters move in the block; `denied_x` is denied.x, others are rules."""
    wanted = {
        name.replace("_", ".") if name.startswith("denied") else f"r.{name}": count
        for name, count in expected.items()
    }
    with Counters(node, "udp_security") as counters:
        before = counters.packets()
        yield
        after = counters.packets()
    moved = {name: count - before.get(name, 0) for name, count in after.items()}
    assert {name: count for name, count in moved.items() if count} == wanted


def flow(direction: Direction, family: Family) -> Flow:
    """The same two ends, whichever way the packets take."""
    source, destination = map(ip_address, ENDS[family])
    return Flow(direction, source, destination, PORT)


@pytest.mark.parametrize("direction", DIRECTIONS)
@each_family
def test_only_the_first_packet_is_judged(wire: Wire, direction: Direction, family: Family) -> None:
    """Both ways, and what others keep in the mark stays there."""
    with loaded(wire.node, PROBE, policy(direction)["policy.nft"]):
        one = flow(direction, family)
        with moves(wire.node, **{direction: 1}):
            (fate,) = wire.send([one], replies=True)
            for _ in range(2):
                again = wire.send([one], replies=True, ports=[fate.source_port])
                assert again == [fate]
        assert fate.delivered and fate.replied
        assert marks(wire.node, "behind") == {VALUES[direction] | OTHERS_BITS}


@pytest.mark.parametrize(
    ("first", "then"), [(a, b) for a in DIRECTIONS for b in DIRECTIONS if a != b]
)
@pytest.mark.parametrize("allowed", [False, True])
@each_family
def test_another_way_is_another_direction(
    wire: Wire, first: Direction, then: Direction, allowed: bool, family: Family
) -> None:
    """A route changes, or an address moves from a pod to the node: the next packet of the flow
    meets another hook, and is judged as what it is there."""
    both = (first, then) if allowed else (first,)
    with loaded(wire.node, policy(*both)["policy.nft"]):
        with moves(wire.node, **{first: 1}):
            (fate,) = wire.send([flow(first, family)], replies=True)
        assert fate.delivered and fate.replied
        with moves(wire.node, **{then if allowed else f"denied_{then}": 1}):
            (moved,) = wire.send([flow(then, family)], ports=[fate.source_port])
        assert moved.delivered is allowed
        # A denied packet takes the verdict with it, and so does one that was judged anew.
        with moves(wire.node, **{first: 1}):
            assert wire.send([flow(first, family)], ports=[fate.source_port])[0].delivered


@pytest.mark.parametrize(("first", "then"), [("ingress", "egress"), ("egress", "ingress")])
@each_family
def test_answers_take_another_way(
    wire: Wire, first: Direction, then: Direction, family: Family
) -> None:
    """What answers an ingress flow leaves the node. When it comes in instead, it is no ingress."""
    with loaded(wire.node, policy(first)["policy.nft"]):
        one = flow(first, family)
        (fate,) = wire.send([one], replies=True)
        # The answer, from the side where the questions came from.
        back = Flow(first, one.destination, one.source, fate.source_port)
        with moves(wire.node, **{f"denied_{then}": 1}):
            assert not wire.send([back], ports=[PORT])[0].delivered


@pytest.mark.parametrize(
    "values",
    [{}, {"denyAction": "reject"}, {"mode": "audit"}],
    ids=("drop", "reject", "audit"),
)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_denied_packet_takes_the_verdict_away(
    wire: Wire, values: Values, direction: Direction
) -> None:
    """Policies come back to the same values in the end: a flow that was denied meanwhile is judged
    again. Others' bits stay."""
    open_, closed = policy(direction)["policy.nft"], policy(**values)["policy.nft"]
    audit = values.get("mode") == "audit"
    with loaded(wire.node, PROBE, open_):
        flows = [flow(direction, family) for family in FAMILIES]
        ports = [fate.source_port for fate in wire.send(flows)]
        wire.run(["nft", "-f", "-"], stdin=generation(closed, 1, 1))
        # They would take it away before.
        for chain in ("purge.prerouting", "purge.output"):
            wire.run(["nft", "flush", "chain", "inet", "udp_security", chain])
        marks(wire.node, "before")
        for _ in range(2):
            with moves(wire.node, **{f"denied_{direction}": 2}):
                fates = wire.send(flows, ports=ports)
            assert [fate.delivered for fate in fates] == [audit, audit]
        # The first packet still had the value.
        assert marks(wire.node, "before") == {VALUES[direction] | OTHERS_BITS, OTHERS_BITS}
        wire.run(["nft", "-f", "-"], stdin=generation(open_, 2, 0))
        with moves(wire.node, **{direction: 2}):
            assert all(fate.delivered for fate in wire.send(flows, ports=ports))


@pytest.mark.parametrize("values", [{}, {"mode": "audit"}], ids=("enforce", "audit"))
def test_a_new_generation_judges_every_flow_again(wire: Wire, values: Values) -> None:
    """In audit mode, too; and what would be denied is never remembered."""
    ruleset = policy("ingress", **values)["policy.nft"]
    allowed = flow("ingress", 4)
    denied = Flow("ingress", allowed.source, allowed.destination, PORT + 1)
    audit = values.get("mode") == "audit"
    with loaded(wire.node, PROBE):
        ports = None
        for number in range(4):
            wire.run(["nft", "-f", "-"], stdin=generation(ruleset, number, 20 - number))
            with moves(wire.node, ingress=1, denied_ingress=3):
                for _ in range(3):
                    fates = wire.send([allowed, denied], ports=ports)
                    ports = [fate.source_port for fate in fates]
            assert [fate.delivered for fate in fates] == [True, audit]
            value = (3 * (20 - number) + 1) << 24
            passed = {value | OTHERS_BITS, OTHERS_BITS} if audit else {value | OTHERS_BITS}
            assert marks(wire.node, "behind") == passed


def test_untrusted_values_are_written_all_the_same(wire: Wire) -> None:
    """As an agent loads them: without the lines that trust. Every packet is looked up."""
    ruleset = policy("forward")["policy.nft"]
    untrusted = re.sub(r"^.* # trusted\n", "", ruleset, flags=re.MULTILINE)
    one = flow("forward", 4)
    with loaded(wire.node, PROBE, untrusted):
        with moves(wire.node, forward=4):
            (fate,) = wire.send([one], replies=True)
            assert wire.send([one], replies=True, ports=[fate.source_port]) == [fate]
        assert marks(wire.node, "behind") == {VALUES["forward"] | OTHERS_BITS}
        hooks = ruleset[ruleset.index("\n# hooks: ") :]
        wire.run(["nft", "-f", "-"], stdin=hooks)
        with moves(wire.node):
            assert wire.send([one], replies=True, ports=[fate.source_port]) == [fate]


def test_without_the_cache_every_packet_is_judged(wire: Wire) -> None:
    off = {"linux": {"verdictCache": {"enabled": False}}}
    one = flow("egress", 6)
    with loaded(wire.node, PROBE, policy("egress", **off)["policy.nft"]):
        with moves(wire.node, egress=4):
            (fate,) = wire.send([one], replies=True)
            assert wire.send([one], replies=True, ports=[fate.source_port]) == [fate]
        assert marks(wire.node, "behind") == {OTHERS_BITS}


def test_what_is_not_judged_is_remembered_as_well(wire: Wire) -> None:
    """Outside `scope: cluster` a flow has no rule, but a verdict."""
    with loaded(wire.node, PROBE, policy(linux={"scope": "cluster"})["policy.nft"]):
        with moves(wire.node):
            fates = wire.send([flow(way, 4) for way in DIRECTIONS], replies=True)
        assert all(fate.delivered and fate.replied for fate in fates)
        assert marks(wire.node, "behind") == {value | OTHERS_BITS for value in VALUES.values()}


# --- In the lab: what pods send is remembered when its source is known to be a pod's -------------

ORIGINAL, REPLY = 0x40000000, 0x80000000
POD_FLOWS: Final[Mapping[str, tuple[str, str | Pair, int]]] = {
    # who, to whom, and the flags of a flow of which both have sent two packets
    "out": ("pod-a", "outsider", ORIGINAL),
    "in": ("outsider", "pod-b", REPLY),
    "beside": ("pod-a", "pod-b", ORIGINAL | REPLY),
    "to-another-node": ("pod-a", "pod-c", ORIGINAL),
    "service": ("pod-a", ECHO.address, ORIGINAL | REPLY),
}


@pytest.fixture(scope="module")
def pods(lab: Lab) -> Iterator[Lab]:
    """A lab whose node lets pods talk on PORT, with nothing else of ours in it."""
    ruleset = config_data(documents({"rules": RULES}))["policy.nft"]
    with loaded(lab.ns("node"), PROBE, ruleset):
        yield lab


RULES: Final = [
    {"name": "pods", "direction": "forward", "ports": [PORT, 69]},
    {"name": "in", "direction": "ingress", "ports": [PORT]},
    {"name": "out", "direction": "egress", "ports": [PORT]},
]


@pytest.mark.parametrize("name", POD_FLOWS)
@each_family
def test_pods(pods: Lab, name: str, family: Family) -> None:
    node = pods.ns("node")
    source, target, flags = POD_FLOWS[name]
    address = target.of(family) if isinstance(target, Pair) else pods.address(target, family)
    with pods.stream(source, address, PORT) as stream:
        assert stream.send(timeout=PATIENCE).replied
        assert stream.send(timeout=PATIENCE).replied
        vxlan = {"preset.flannelVxlan.egress", "preset.flannelVxlan.ingress"}
        with Counters(node, "udp_security") as counters:
            before = counters.packets()
            for _ in range(2):
                assert stream.send(timeout=PATIENCE).replied
            after = counters.packets()
        moved = {counter for counter, count in after.items() if count != before[counter]}
        assert moved <= {f"r.{counter}" for counter in vxlan}
        marks(node, "behind")
        assert stream.send(timeout=PATIENCE).replied
        assert VALUES["forward"] | flags | OTHERS_BITS in marks(node, "behind")


@each_family
def test_a_pod_asks_the_node(pods: Lab, family: Family) -> None:
    node = pods.ns("node")
    with pods.stream("pod-a", pods.address("node", family), PORT) as stream:
        with moves(node, **{"in": 1}):
            for _ in range(3):
                assert stream.send(timeout=PATIENCE).replied
        marks(node, "behind")
        assert stream.send(timeout=PATIENCE).replied
        assert marks(node, "behind") == {VALUES["ingress"] | ORIGINAL | OTHERS_BITS}


@each_family
def test_the_node_asks_a_pod(pods: Lab, family: Family) -> None:
    node = pods.ns("node")
    with pods.stream("node", pods.address("pod-a", family), PORT) as stream:
        with moves(node, out=1):
            for _ in range(3):
                assert stream.send(timeout=PATIENCE).replied
        assert marks(node, "behind") == {VALUES["egress"] | OTHERS_BITS}


@each_family
def test_loopback_has_no_verdict(pods: Lab, family: Family) -> None:
    node = pods.ns("node")
    marks(node, "behind")
    with pods.stream("node", pods.address("node", family), PORT + 1) as stream, moves(node):
        assert stream.send(timeout=PATIENCE).replied
    assert marks(node, "behind") == {OTHERS_BITS}


@pytest.mark.parametrize(("source", "target"), [("outsider", "node"), ("pod-a", "pod-b")])
@each_family
def test_tcp_and_icmp_keep_their_marks(pods: Lab, source: str, target: str, family: Family) -> None:
    """Somebody uses our bits for them: nothing becomes of it, for them or for their marks."""
    node = pods.ns("node")
    marks(node, "untouched")
    with moves(node):
        fate = pods.tcp(source, pods.address(target, family), PORT + 1)
        assert fate.delivered and fate.replied
        assert pods.ping(source, pods.address(target, family), timeout=PATIENCE)
    assert marks(node, "untouched") == {VALUES["forward"]}


HELPER: Final = """
table inet helpers {
    ct helper tftp {
        type "tftp" protocol udp
    }
    counter expected { }
    chain assign {
        type filter hook prerouting priority mangle
        udp dport 69 ct helper set "tftp"
    }
    chain seen {
        type filter hook forward priority -60
        ct status expected counter name expected
    }
}
"""


def test_expected_flows_do_not_inherit_a_verdict(pods: Lab) -> None:
    """A TFTP server answers from another port, and conntrack gives that flow its parent's mark."""
    node = pods.ns("node")
    request = b"\0\1file\0octet\0"
    with (
        loaded_beside(node, HELPER, "helpers"),
        pods.ns("outsider").socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
        pods.ns("pod-b").socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        pods.ns("pod-b").socket(socket.AF_INET, socket.SOCK_DGRAM) as data,
    ):
        server.bind(("", 69))
        server.settimeout(PATIENCE)
        client.settimeout(DENIED_WAIT)
        for number in range(1, 3):
            # Never remembered: each packet is judged.
            with moves(node, pods=1):
                client.sendto(request, (pods.address("pod-b"), 69))
                received, peer = server.recvfrom(64)
            assert received == request
            with moves(node, denied_forward=1):
                data.sendto(b"\0\3\0\1data", peer)
                with pytest.raises(TimeoutError):
                    client.recv(64)
            with Counters(node, "helpers") as counters:
                assert counters.packets()["expected"] == number


@contextlib.contextmanager
def loaded_beside(node: Namespace, text: str, table: str) -> Iterator[None]:
    """A table of somebody else's."""
    node.run(["nft", "-f", "-"], stdin=text)
    try:
        yield
    finally:
        node.run(["nft", "delete", "table", "inet", table])
