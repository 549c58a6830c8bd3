# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Holds a ruleset in a wire's node to the oracle: packet by packet, and counter by counter.

A request and its answer are one flow, and both are sent twice: of an allowed flow only the first
packet is counted, for the verdict is cached. Where conntrack does not see them, each packet is a
flow of its own, and what leaves the node from one of ``linux.untrackedReplyAddresses`` passes also
when it may be the answer to an allowed flow.
"""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address
from typing import Any, Final, NamedTuple, Protocol

import yaml
from tests import strategies
from tests.lab.counting import Counters, dropped

from udp_security import helm
from udp_security.chart import chart_dir
from udp_security.lab.errors import LabError
from udp_security.lab.wire import Fate, Wire
from udp_security.policy import Flow, Policy, decide
from udp_security.policy.model import Address, Direction

TABLE: Final = ("inet", "udp_security")
_CONFIG_MAP: Final = "templates/linux-configmap.yaml"
_BACK: Final[Mapping[Direction, Direction]] = {
    "ingress": "egress", "egress": "ingress", "forward": "forward"
}  # fmt: skip
_BROADCAST: Final = IPv4Address("255.255.255.255")
_SHOWN: Final = 5
_LIKELY_PORT: Final = 40_000  # one that a request may be sent from
_REPEATS: Final = 3


class Counting(Protocol):
    """What reads the counters of the rules in force."""

    def packets(self) -> dict[str, int]:
        """How many packets each counter has counted."""
        ...


class _Moves:
    """How far counters move. Each look costs processes where iptables prints them."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self.seen = counting.packets()

    def since(self) -> dict[str, int]:
        """By how many packets each has moved since this was last asked."""
        before, self.seen = self.seen, self._counting.packets()
        return {name: count - before[name] for name, count in self.seen.items()}


@dataclass(frozen=True)
class Case:
    """One policy: the user's values, what they mean, and what the chart makes of them."""

    values: Mapping[str, Any]
    policy: Policy
    files: Mapping[str, str]
    reply_addresses: Collection[Address]
    cached: bool

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Case:
        """Renders the chart. Raises AssertionError with Helm's words when it refuses."""
        full = strategies.merged(values)
        return cls(
            values=values,
            policy=Policy.from_values(full),
            files=render(values),
            reply_addresses=frozenset(map(ip_address, full["linux"]["untrackedReplyAddresses"])),
            cached=full["linux"]["verdictCache"]["enabled"],
        )

    @property
    def counters(self) -> set[str]:
        """Every counter that the policy has."""
        denied = {f"denied.{name}" for name in (*_BACK, "spoofed")}
        return denied | {counter(rule.name) for rule in self.policy.rules}


@dataclass(frozen=True)
class Verdict:
    """What has to become of a packet, and the counters of which one has to move, if any."""

    passes: bool
    counters: frozenset[str]


@dataclass(frozen=True)
class Packet:
    """A packet that was sent, its flow, what the oracle says of it, and whether it passed."""

    flow: Flow
    kind: str
    source_port: int
    wanted: Verdict
    passed: bool

    def __str__(self) -> str:
        way = f"{self.flow.direction} {self.flow.source} port {self.source_port} -> "
        text = f"{way}{self.flow.destination} port {self.flow.port}"
        counted = " or ".join(sorted(self.wanted.counters)) or "no counter"
        fates = {True: "passes", False: "is dropped"}
        return (
            f"{self.kind} {text}: {fates[self.passed]};"
            f" the oracle says that it {fates[self.wanted.passes]}, in {counted}"
        )


def render(values: Mapping[str, Any]) -> dict[str, str]:
    """The files of the ConfigMap that Helm makes for a user's values."""
    done = subprocess.run(
        [_helm(), "template", "udp-security", str(chart_dir()), "--values", "-",
         "--namespace", "udp-security", "--show-only", _CONFIG_MAP],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"Helm refuses {values}: {done.stderr}"
    data: dict[str, str] = yaml.load(done.stdout, yaml.CSafeLoader)["data"]
    return data


def counter(rule: str) -> str:
    """A rule's counter."""
    return f"r.{rule.replace(':', '.')}"


def agree(
    wire: Wire,
    case: Case,
    flows: Sequence[Flow],
    *,
    tracked: bool = True,
    translated: Sequence[tuple[Flow, Flow]] | None = None,
    ports: dict[int, int] | None = None,
    counting: Counting | None = None,
) -> list[Packet]:
    """Sends the flows and their answers and asserts that fates and counters are the oracle's.

    ``translated`` are the flows as NAT leaves them, each as the policy is to see it (the source is
    the original one) and as the answerer sees it. ``ports`` keeps the flows' source ports, by their
    place in ``flows``: with those of an earlier call the same flows go on. ``counting`` reads the
    counters, if they are not those of our nftables table. Returns the packets.

    What is missing while the machine's processors drop packets is sent again, as new flows.
    """
    ports = {} if ports is None else ports
    # Only flows that are to be counted alike are sent together, so that a packet in the wrong
    # counter cannot make up for another one.
    groups: defaultdict[Hashable, list[_Sent]] = defaultdict(list)
    for place, (flow, (judged, seen)) in enumerate(
        zip(flows, translated or zip(flows, flows, strict=True), strict=True)
    ):
        likely = Fate(delivered=True, replied=True, source_port=_LIKELY_PORT)
        alike = tuple(packet.wanted for packet in _packets(case, judged, likely, tracked))
        groups[alike].append(_Sent(place, flow, judged, seen))
    with contextlib.ExitStack() as stack:
        moves = _Moves(counting or stack.enter_context(Counters(wire.node, TABLE[1])))
        assert moves.seen.keys() == case.counters, _report(case, ["other counters are there"])
        return [
            packet
            for group in groups.values()
            for packet in _group(wire, moves, case, group, tracked, ports)
        ]


class _Sent(NamedTuple):
    """A flow as it is sent, as the policy judges it, and as who answers it sees it."""

    place: int
    flow: Flow
    judged: Flow
    seen: Flow


class _Missed(AssertionError):
    """Packets or counts are missing, as they are when a packet is lost; none passed that should not
    have passed."""


def _group(
    wire: Wire,
    moves: _Moves,
    case: Case,
    group: Sequence[_Sent],
    tracked: bool,
    ports: dict[int, int],
) -> list[Packet]:
    def sent() -> list[Packet]:
        return [
            packet
            for round_ in range(2 if tracked else 1)
            for packet in _agree(wire, moves, case, group, tracked, ports, again=round_ > 0)
        ]

    for _ in range(_REPEATS):
        before = dropped()
        try:
            return sent()
        except (_Missed, LabError):
            if dropped() == before:
                raise
            moves.since()
            # Some of these flows may be cached, others not: only new ones are as if never sent.
            for one in group:
                ports.pop(one.place, None)
    return sent()


def _agree(
    wire: Wire,
    moves: _Moves,
    case: Case,
    group: Sequence[_Sent],
    tracked: bool,
    ports: dict[int, int],
    *,
    again: bool,
) -> list[Packet]:
    fates = wire.send(
        [one.flow for one in group],
        replies=True,
        translated=[one.seen for one in group],
        ports=[ports[one.place] for one in group] if group[0].place in ports else None,
    )
    ports.update((one.place, fate.source_port) for one, fate in zip(group, fates, strict=True))
    moved = moves.since()
    sent = [
        packet
        for one, fate in zip(group, fates, strict=True)
        for packet in _packets(case, one.judged, fate, tracked, again=again)
    ]
    complaints = [str(packet) for packet in sent if packet.passed is not packet.wanted.passes]
    if not complaints:
        complaints = list(_miscounted(moved, [packet.wanted for packet in sent]))
        if complaints and len(group) > 1:
            # Alone, the packet that is counted wrongly betrays itself. (What was cached stays so.)
            middle = len(group) // 2
            for part in (group[:middle], group[middle:]):
                _agree(wire, moves, case, part, tracked, ports if again else {}, again=again)
        if complaints:
            complaints += map(str, sent)
    if complaints:
        leaked = any(packet.passed and not packet.wanted.passes for packet in sent)
        raise (AssertionError if leaked else _Missed)(_report(case, complaints))
    return sent


def _packets(
    case: Case, flow: Flow, fate: Fate, tracked: bool, *, again: bool = False
) -> Iterator[Packet]:
    """The request, which may be the flow's second one, and, if it arrived and can be answered, its
    answer."""
    judge = _verdict if tracked else _untracked
    port = fate.source_port
    broadcast = flow.destination == _BROADCAST
    wanted = judge(case, flow, port)
    # The copy of a broadcast belongs to the same flow, in another direction: neither stays cached.
    copied = broadcast and flow.direction == "egress"
    request = _cached(case, wanted) if again and not copied else wanted
    yield Packet(flow, "second" if again else "first", port, request, fate.delivered)
    if fate.delivered and copied:
        # The kernel gives the node a copy of its own broadcast, by the device that it left by. What
        # becomes of the copy nobody watches, but it counts.
        copy = replace(flow, direction="ingress")
        wanted = judge(case, copy, port)
        yield Packet(copy, "copy of a", port, wanted, wanted.passes)
    if fate.delivered and not broadcast and not flow.destination.is_multicast:
        if tracked:
            wanted = _cached(case, wanted)
        else:
            back = Flow(_BACK[flow.direction], flow.destination, flow.source, port)
            wanted = judge(case, back, flow.port)
        yield Packet(flow, "answer to", port, wanted, fate.replied)


def _cached(case: Case, wanted: Verdict) -> Verdict:
    """What becomes of a further packet of a flow: an allowed one is not counted again."""
    allowed = not any(name.startswith("denied.") for name in wanted.counters)
    return Verdict(True, frozenset()) if case.cached and allowed else wanted


def _verdict(case: Case, flow: Flow, _source_port: int) -> Verdict:
    decision = decide(case.policy, flow)
    if not decision.judged:
        return Verdict(True, frozenset())
    if decision.verdict == "deny":
        denied = frozenset({f"denied.{flow.direction}"})
        return Verdict(case.policy.mode == "audit", denied)
    return Verdict(True, frozenset(counter(rule.name) for rule in decision.rules))


def _untracked(case: Case, flow: Flow, source_port: int) -> Verdict:
    wanted = _verdict(case, flow, source_port)
    if flow.direction != "egress" or flow.source not in case.reply_addresses:
        return wanted
    mirrored = decide(case.policy, Flow("ingress", flow.destination, flow.source, source_port))
    rules = (*mirrored.rules, *decide(case.policy, flow).rules)
    return Verdict(True, frozenset(counter(rule.name) for rule in rules)) if rules else wanted


def _miscounted(moved: Mapping[str, int], wanted: Sequence[Verdict]) -> Iterator[str]:
    """Counters that moved by less than the packets which only they may count, or by more than those
    which they may count at all; and the total."""
    least = Counter(name for one in wanted if len(one.counters) == 1 for name in one.counters)
    most = Counter(name for one in wanted for name in one.counters)
    for name in sorted(moved.keys() | most.keys()):
        count = moved.get(name, 0)
        if not least[name] <= count <= most[name]:
            yield f"{name} moved by {count}, not by {least[name]} to {most[name]}"
    total = sum(1 for one in wanted if one.counters)
    if sum(moved.values()) != total:
        yield f"all counters moved by {sum(moved.values())}, not by {total}"


def _report(case: Case, complaints: Sequence[str]) -> str:
    lines = [f"  {complaint}" for complaint in complaints[:_SHOWN]]
    if len(complaints) > _SHOWN:
        lines.append(f"  and {len(complaints) - _SHOWN} more")
    values = yaml.safe_dump(dict(case.values), sort_keys=False, width=100)
    return "\n".join(["the ruleset and the oracle disagree:", *lines, "values:", values])


@functools.lru_cache(maxsize=1)
def _helm() -> str:
    return helm.find()
