# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Which denied flows may become rules.

Whoever can send a packet can write a denied flow, with any source. No count is proof; but what is
rare, or comes from everywhere, is not what a missing rule looks like.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Final, Literal

from udp_security.policy.denied import DeniedFlow
from udp_security.policy.ground import Ground
from udp_security.policy.merging import Widening
from udp_security.policy.model import Address, Network
from udp_security.policy.oracle import contains

Kind = Literal["once", "few", "scan", "crowd", "refused"]

#: So many strangers, or ports between two addresses, are no longer somebody's service.
MANY: Final = 32
_MAPPED: Final[Network] = ip_network("::ffff:0:0/96")


@dataclass(frozen=True)
class LeftOut:
    """Flows that became no rule. `why` is for people; `kind` is its short name.

    once: the source was seen with one packet; few: fewer packets than asked for; scan, crowd: too
    many ports, or strangers; refused: no rule could name it.
    """

    kind: Kind
    why: str
    flows: tuple[DeniedFlow, ...]


def divided(
    flows: Sequence[DeniedFlow], ground: Ground, min_packets: int, widening: Widening
) -> tuple[list[DeniedFlow], list[LeftOut]]:
    """The flows that may become rules, and those that may not. All are denied ones."""
    left: list[LeftOut] = []

    def leave(
        kind: Kind, why: str, unfit: Callable[[DeniedFlow], bool], among: Iterable[DeniedFlow]
    ) -> list[DeniedFlow]:
        parts: dict[bool, list[DeniedFlow]] = {True: [], False: []}
        for flow in among:
            parts[unfit(flow)].append(flow)
        if parts[True]:
            left.append(LeftOut(kind, why, tuple(parts[True])))
        return parts[False]

    seen: Counter[Address] = Counter()
    for flow in flows:
        seen[flow.source] += flow.packets
    rest = leave(
        "once",
        "the source was seen only once, with one packet",
        lambda flow: seen[flow.source] <= 1,
        flows,
    )
    rest = leave(
        "few",
        f"fewer than {min_packets} packets (--min-packets)",
        lambda flow: flow.packets < min_packets,
        rest,
    )
    for why, unfit in _REFUSALS:
        rest = leave("refused", why, lambda flow, unfit=unfit: unfit(flow, ground), rest)  # type: ignore[misc]
    ports = _spread(rest, _pair, lambda flow: flow.port)
    rest = leave(
        "scan",
        f"more than {MANY} ports between the same two addresses, as in a port scan (if it is a "
        "service of yours, write a rule with a range of ports yourself)",
        lambda flow: ports[_pair(flow)] > MANY,
        rest,
    )
    for end in ("source", "destination"):
        strangers = [flow for flow in rest if _stranger(flow, end)]
        networks = _spread(
            strangers,
            lambda flow: flow.direction,
            lambda flow, end=end: widening.widest(getattr(flow, end)),  # type: ignore[misc]
        )
        rest = leave(
            "crowd",
            f"more than {MANY} {end}s that are nothing of the cluster's, as in a flood of forged "
            "packets (where they are yours, name their network in a rule yourself, or let "
            "--max-prefix gather them)",
            lambda flow, end=end, networks=networks: (  # type: ignore[misc]
                _stranger(flow, end) and networks[flow.direction] > MANY
            ),
            rest,
        )
    return rest, left


def _pair(flow: DeniedFlow) -> Hashable:
    return flow.os, flow.direction, flow.source, flow.destination


def _spread(
    flows: Iterable[DeniedFlow],
    key: Callable[[DeniedFlow], Hashable],
    value: Callable[[DeniedFlow], Hashable],
) -> Counter[Hashable]:
    """How many different values there are for each key."""
    found: defaultdict[Hashable, set[Hashable]] = defaultdict(set)
    for flow in flows:
        found[key(flow)].add(value(flow))
    return Counter({each: len(values) for each, values in found.items()})


def _stranger(flow: DeniedFlow, end: str) -> bool:
    """Whether that end is the far one and nothing that the cluster has a name for."""
    near = {"ingress": "destination", "egress": "source", "forward": ""}[flow.direction]
    return end != near and getattr(flow, f"{end}_name") is None


def _mapped(flow: DeniedFlow, _: Ground) -> bool:
    return flow.source in _MAPPED or flow.destination in _MAPPED


def _service(flow: DeniedFlow, ground: Ground) -> bool:
    return flow.os == "linux" and contains(ground.services, flow.destination)


_REFUSALS: Final[tuple[tuple[str, Callable[[DeniedFlow, Ground], bool]], ...]] = (
    ("no rule can name port 0", lambda flow, _: flow.port == 0),
    ("no rule can name IPv4-mapped IPv6 addresses", _mapped),
    (
        "the destination is a service's address, which no rule for Linux may name (a service "
        "without a pod that is ready? allow its pods)",
        _service,
    ),
    (
        "no policy governs what goes through a Windows host",
        lambda flow, _: (flow.os, flow.direction) == ("windows", "forward"),
    ),
)
