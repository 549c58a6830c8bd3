# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Random policies and real packets: the rendered ruleset does what the oracle says.

Hypothesis makes values; Helm renders them; `nft` loads the text as it is; several hundred packets
near the policy's edges, each answered, meet it. The tests take the same examples every time. To
look for new ones, say how many policies each test shall try:

    UDP_SECURITY_FUZZ=2000 make test JOBS=0 ARGS='tests/lab/test_differential.py'

A disagreement is shrunk, and printed with the values and the packets.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies
from tests.lab import differential
from tests.lab.counting import Counters
from tests.lab.differential import TABLE, Case, agree

from udp_security.chart import chart_dir
from udp_security.lab.wire import Fate, Wire
from udp_security.policy import Flow
from udp_security.policy.model import DIRECTIONS

PACKETS: Final = 250
SEEDS: Final = st.integers(0, 2**32 - 1)
ONE_GENERATION: Final = 4  # bits of a mask that has room for the values of one generation


@contextlib.contextmanager
def loaded(wire: Wire, text: str) -> Iterator[None]:
    """A ruleset in the wire's node; at the end our table is gone."""
    try:
        wire.run(["nft", "-f", "-"], stdin=text)
        yield
    finally:
        wire.run(["nft", "delete", "table", *TABLE], check=False)


@contextlib.contextmanager
def other_table(wire: Wire, body: str) -> Iterator[None]:
    """A table of somebody else's beside ours."""
    wire.run(["nft", "-f", "-"], stdin=f"table inet other {{\n{body}\n}}\n")
    try:
        yield
    finally:
        wire.run(["nft", "delete", "table", "inet", "other"])


def sample(values: Mapping[str, Any], seed: int) -> list[Flow]:
    """Flows at the edges of the values, which the kernel does not drop for reasons of its own."""
    near = filter(Wire.carries, strategies.flows(values, random.Random(seed)))
    return list(itertools.islice(near, PACKETS))


@strategies.examples(50)
@given(values=strategies.values(), seed=SEEDS)
def test_tracked_packets(wire: Wire, values: dict[str, Any], seed: int) -> None:
    case = Case.of(values)
    with loaded(wire, case.files["policy.nft"]):
        agree(wire, case, sample(values, seed))


NOTRACK: Final = """
chain prerouting { type filter hook prerouting priority raw; meta l4proto udp notrack; }
chain output { type filter hook output priority raw; meta l4proto udp notrack; }
"""


@strategies.examples(25)
@given(values=strategies.values(), seed=SEEDS)
def test_untracked_packets(wire: Wire, values: dict[str, Any], seed: int) -> None:
    case = Case.of(values)
    with other_table(wire, NOTRACK), loaded(wire, case.files["policy.nft"]):
        agree(wire, case, sample(values, seed), tracked=False)


def agent_applies(wire: Wire, folder: Path, case: Case) -> None:
    """Puts a policy in force with the agent's own functions."""
    (folder / "policy").mkdir(exist_ok=True)
    for name in ("policy.nft", "policy.facts"):
        (folder / "policy" / name).write_text(case.files[name], encoding="utf-8")
    script = chart_dir() / "files" / "linux" / "agent.sh"
    functions, commands, _ = script.read_text(encoding="utf-8").rpartition("\ncase ${1:-} in\n")
    assert commands, "the agent is expected to end with its commands"
    apply = f"{functions}\nSTATE={folder} SELF=a\napply applied"
    wire.run(["busybox", "sh", "-c", apply, str(script)])


@strategies.examples(10)
@given(first=strategies.values(), second=strategies.values(), seed=SEEDS)
def test_swapped_policies(
    wire: Wire,
    tmp_path_factory: pytest.TempPathFactory,
    first: dict[str, Any],
    second: dict[str, Any],
    seed: int,
) -> None:
    """The flows of both policies meet the first one, the second one and the first one again."""
    ports: dict[int, int] = {}
    folder = tmp_path_factory.mktemp("state")
    one, other = Case.of(first), Case.of(second)
    bits = {case.values["linux"]["verdictCache"]["mask"] for case in (one, other)}
    flows = sample(first, seed)[: PACKETS // 2] + sample(second, seed)[: PACKETS // 2]
    with loaded(wire, one.files["policy.nft"]), Counters(wire.node, TABLE[1]) as counters:
        agree(wire, one, flows, ports=ports)
        for generation, case in enumerate((other, one), start=1):
            before = counters.packets()
            agent_applies(wire, folder, case)
            assert counters.packets() == {name: before.get(name, 0) for name in case.counters}
            table = wire.run(["nft", "list", "table", *TABLE]).stdout
            assert set(re.findall(r"(?<![\w.-])g\d+(?=\.)", table)) == {f"g{generation}"}
            # Other bits of the mark, bits that nobody cleared, and those of the generation before,
            # where there is room for one only, might hold anything: no verdict is trusted for
            # minutes.
            several = all(mask.bit_count() > ONE_GENERATION for mask in bits)
            trusting = replace(
                case, cached=one.cached and other.cached and len(bits) == 1 and several
            )
            agree(wire, trusting, flows, ports=ports)


# Both families' NAT, as kube-proxy and Flannel do it: services become pods on the way in and on the
# way out of the node, and what leaves by right0 gets the node's address.
NAT: Final = """
chain services {
    ip daddr 10.96.0.10 udp dport 53 dnat ip to 10.244.1.5:5353
    ip daddr 10.96.0.11 udp dport 53 dnat ip to 10.244.1.6:53
    ip daddr 10.96.0.12 udp dport 5353 dnat ip to 10.244.1.5:54
    ip6 daddr fd00:96::10 udp dport 53 dnat ip6 to [fd00:244::5]:5353
    ip6 daddr fd00:96::11 udp dport 53 dnat ip6 to [fd00:244::6]:53
    ip6 daddr fd00:96::12 udp dport 5353 dnat ip6 to [fd00:244::5]:54
}
chain prerouting { type nat hook prerouting priority dstnat; jump services; }
chain output { type nat hook output priority -100; jump services; }
chain postrouting {
    type nat hook postrouting priority srcnat
    oifname "right0" masquerade
}
"""
MASQUERADED: Final = {4: ip_address("192.0.2.9"), 6: ip_address("2001:db8::9")}
SERVICES: Final = {
    ("10.96.0.10", 53): ("10.244.1.5", 5353),
    ("10.96.0.11", 53): ("10.244.1.6", 53),
    ("10.96.0.12", 5353): ("10.244.1.5", 54),
    ("fd00:96::10", 53): ("fd00:244::5", 5353),
    ("fd00:96::11", 53): ("fd00:244::6", 53),
    ("fd00:96::12", 5353): ("fd00:244::5", 54),
}
CLIENTS: Final = {4: ("10.1.0.1", "10.2.0.1"), 6: ("fd00:1::1", "fd00:2::1")}


def behind_nat(flow: Flow) -> tuple[Flow, Flow]:
    """The flow as the policy is to see it, and as whoever answers it does."""
    target = str(flow.destination), flow.port
    address, port = SERVICES.get(target, target)
    judged = Flow(flow.direction, flow.source, ip_address(address), port)
    if flow.direction != "forward":
        return judged, judged
    return judged, Flow("forward", MASQUERADED[flow.source.version], judged.destination, port)


def nat_rules(direction: str) -> list[dict[str, Any]]:
    """One rule that allows what the services lead to, and others that only what is seen before the
    translation of the destination, or after that of the source, would match."""
    names = {name: f"{direction}-{name}" for name in ("pods", "services", "masqueraded")}
    common = {"direction": direction}
    pods = ["10.244.1.5", "fd00:244::5"]
    return [
        {**common, "name": names["pods"], "ports": [5353], "from": ["10.1.0.0/16", "fd00:1::/32"],
         "to": pods},
        {**common, "name": names["services"], "ports": [53, 5353],
         "to": ["10.96.0.0/16", "fd00:96::/32"]},
        {**common, "name": names["masqueraded"], "ports": ["1-65535"],
         "from": ["192.0.2.9", "2001:db8::9"]},
    ]  # fmt: skip


@contextlib.contextmanager
def translator() -> Iterator[Wire]:
    """A wire whose node translates and has addresses to masquerade with."""
    with Wire() as wire:
        for address in MASQUERADED.values():
            wire.node.ip(f"address add {address} dev right0{' nodad' * (address.version == 6)}")
        with other_table(wire, NAT):
            yield wire


def nat_values(mode: str) -> dict[str, Any]:
    """A policy of those rules alone."""
    rules = [rule for direction in DIRECTIONS for rule in nat_rules(direction)]
    off = dict.fromkeys(strategies.PRESETS, False)
    cut = list(strategies.LIFELINES)
    return {"mode": mode, "presets": off, "dangerouslyCutOff": cut, "rules": rules}


def nat_flows() -> list[Flow]:
    """From every client to every service, and to what is behind it."""
    targets = [*SERVICES, *SERVICES.values(), ("10.96.0.13", 53), ("fd00:96::13", 5353)]
    return [
        Flow(direction, source, address, port)
        for direction in DIRECTIONS
        for text, port in targets
        for address in [ip_address(text)]
        for source in map(ip_address, CLIENTS[address.version])
    ]


@pytest.mark.parametrize("mode", ["enforce", "audit"])
def test_translated_packets(mode: str) -> None:
    case, flows = Case.of(nat_values(mode)), nat_flows()
    with translator() as wire, loaded(wire, case.files["policy.nft"]):
        sent = agree(wire, case, flows, translated=list(map(behind_nat, flows)))
    fates = {(one.flow.direction, *one.wanted.counters) for one in sent if one.wanted.counters}
    for direction in DIRECTIONS:
        assert {counted for way, counted in fates if way == direction} == {
            f"r.{direction}-pods", f"r.{direction}-services", f"denied.{direction}"
        }  # fmt: skip


class Misleading:
    """Instead of ``Wire.send``: tells this fate of the first call's first flow, which it does not
    send. ``calls`` are all calls' flows."""

    def __init__(self, wire: Wire, fate: Fate, drop: Callable[[], object]) -> None:
        self._send, self._fate, self._drop = wire.send, fate, drop
        self.calls: list[list[Flow]] = []

    def __call__(self, flows: list[Flow], **options: Any) -> list[Fate]:
        """The flows' fates."""
        self.calls.append(flows)
        if len(self.calls) > 1:
            return self._send(flows, **options)
        self._drop()
        options["translated"] = options["translated"][1:]
        return [self._fate, *self._send(flows[1:], **options)]


@pytest.mark.parametrize(
    ("last", "fate", "dropped", "complaint"),
    [
        pytest.param("96", Fate(False, False), 1, None, id="dropped"),
        pytest.param("96", Fate(False, False), 0, "is dropped", id="lost"),
        pytest.param("99", Fate(True, False), 1, "passes", id="leaked"),
    ],
)
def test_what_the_machine_drops_is_sent_again(
    wire: Wire,
    monkeypatch: pytest.MonkeyPatch,
    last: str,
    fate: Fate,
    dropped: int,
    complaint: str | None,
) -> None:
    """But what is missing for another reason, or passes, is told."""
    case = Case.of(nat_values("enforce"))
    drops = 0

    def drop() -> None:
        nonlocal drops
        drops += dropped

    misleading = Misleading(wire, fate, drop)
    monkeypatch.setattr(wire, "send", misleading)
    monkeypatch.setattr(differential, "dropped", lambda: drops)
    ends = [("10.1.0.1", f"10.{last}.0.{n}") for n in range(3)]
    flows = [Flow("ingress", ip_address(one), ip_address(other), 53) for one, other in ends]
    with loaded(wire, case.files["policy.nft"]):
        if complaint:
            with pytest.raises(
                AssertionError, match=rf"{last}\.0\.0 port 53: {complaint}; the oracle"
            ):
                agree(wire, case, flows)
        else:
            agree(wire, case, flows)
            # The disturbed packets, the flows' first ones, and their second ones.
            assert misleading.calls == [flows] * 3
