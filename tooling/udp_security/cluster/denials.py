# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the nodes denied, all asked at once and put together, with names."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from udp_security.cluster.client import Client
from udp_security.cluster.execution import Answer, assert_reached
from udp_security.cluster.names import names_of
from udp_security.cluster.node_denials import NodeDenials, Source, ask, read, sources_of
from udp_security.cluster.rollout import few
from udp_security.policy.aggregation import merged, merged_ports
from udp_security.policy.denied import DeniedFlow, DeniedPort


@dataclass(frozen=True)
class Denials:
    """What all nodes tell, at `time` (UTC). `since`: only what was denied that recently.

    A flow is there once, whichever nodes denied it, with names; those with the most packets come
    first. `notes` say which names are not known.
    """

    time: datetime
    since: timedelta | None
    nodes: tuple[NodeDenials, ...]
    flows: tuple[DeniedFlow, ...]
    ports: tuple[DeniedPort, ...]
    notes: tuple[str, ...]


async def denials_of(
    client: Client,
    timeout: float,
    since: timedelta | None,
    heard: Callable[[int, int], None] = lambda answered, asked: None,
) -> Denials:
    """The whole cluster's denials. Raises ClusterError, also where the addon is not installed.

    `timeout`: seconds for each agent's answer; an agent that gives none is no error. `heard` is
    told how many agents have answered, or failed to, of how many.
    """
    sources = await sources_of(client)
    asked = sum(source.pod is not None for source in sources)
    answered = 0
    answers: list[Answer] = []

    async def told(source: Source) -> NodeDenials:
        nonlocal answered
        answer = await ask(client, source, timeout)
        if answer is not None:
            answered += 1
            heard(answered, asked)
            # The texts of all together would be too much to keep.
            answers.append(replace(answer, text=answer.text[:1]))
        return read(source, answer, since)

    heard(0, asked)
    names, nodes = await asyncio.gather(
        names_of(client, [source.node for source in sources]),
        asyncio.gather(*map(told, sources)),
    )
    await assert_reached(client, answers)
    return Denials(
        time=datetime.now(timezone.utc),
        since=since,
        nodes=tuple(nodes),
        flows=merged((flow for node in nodes for flow in node.flows), names.known),
        ports=merged_ports(port for node in nodes for port in node.ports),
        notes=names.notes,
    )


def reasons(nodes: Iterable[NodeDenials]) -> list[str]:
    """Why nodes tell nothing, or not all: a line for each reason."""
    same: defaultdict[str, list[str]] = defaultdict(list)
    for node in nodes:
        if node.reason:
            same[node.reason].append(node.node)
    return [f"{few(names)}: {reason}" for reason, names in same.items()]
