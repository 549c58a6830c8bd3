# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Denials as they come: what has grown since each node told the last time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from udp_security.cluster.client import Client, ClusterError
from udp_security.cluster.denials import reasons
from udp_security.cluster.execution import Answer, assert_reached
from udp_security.cluster.names import Names, names_of
from udp_security.cluster.node_denials import NodeDenials, Source, ask, read, sources_of
from udp_security.cluster.rollout import few
from udp_security.policy.denied import DeniedFlow

# Seconds: between two questions to a node, and between two lists of all names.
_POLL = 2.0
_NAMES = 30.0
# Agents tell times in whole seconds.
_ROUNDED = timedelta(seconds=1)
_UNKNOWN_TIME = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Growth:
    """A flow, as one node knows it, and the `packets` that are new. `mode` is the node's."""

    flow: DeniedFlow
    packets: int
    mode: str | None


async def follow(
    client: Client, timeout: float, since: timedelta | None
) -> AsyncGenerator[list[Growth | str], None]:
    """What is new, every few seconds, without an end; strings say what became of nodes.

    Begins with what was denied in the time `since`; with None, now. A node that is slow to answer
    (`timeout`: seconds) holds up no other. Raises ClusterError where the cluster cannot be asked at
    the beginning; later that is said, and tried again.
    """
    now = datetime.now(timezone.utc)
    follower = _Follower(client, timeout, now - since if since else now + _ROUNDED)
    clock = asyncio.get_running_loop().time
    try:
        while True:
            due = clock() + _POLL
            yield await follower.poll()
            await asyncio.sleep(due - clock())
    finally:
        follower.close()


class Memory:
    """What each node told last. What it tells first is new from `begin` on."""

    def __init__(self, begin: datetime) -> None:
        self._begin = begin
        self._told: dict[str, dict[Any, int]] = {}

    def growth(self, denials: NodeDenials) -> list[Growth]:
        """What the node denied since it told last, the oldest first; then, what it tells now."""
        before = self._told.get(denials.node)
        now: dict[Any, int] = {}
        found = []
        for flow in denials.flows:
            key = flow.direction, flow.source, flow.destination, flow.port
            now[key] = flow.packets
            if before is not None:
                known = before.get(key, 0)
                # A smaller count is one that began anew: the node had forgotten the flow.
                new = flow.packets - known if flow.packets >= known else flow.packets
            else:
                new = flow.packets if (flow.last_seen or _UNKNOWN_TIME) >= self._begin else 0
            if new:
                found.append(Growth(flow, new, denials.mode))
        self._told[denials.node] = now
        return sorted(found, key=lambda growth: growth.flow.last_seen or _UNKNOWN_TIME)


class _Follower:
    def __init__(self, client: Client, timeout: float, begin: datetime) -> None:
        self._client = client
        self._timeout = timeout
        self._memory = Memory(begin)
        self._asked: dict[str, asyncio.Task[tuple[Answer | None, NodeDenials]]] = {}
        # By node, whether it tells, and whether a reason stands beside that.
        self._states: dict[str, tuple[bool, bool]] = {}
        self._lost = False
        self._names: Names | None = None
        self._named = 0.0

    async def poll(self) -> list[Growth | str]:
        try:
            sources = await sources_of(self._client)
        except ClusterError as error:
            if not self._states:
                raise
            said: list[Growth | str] = [] if self._lost else [f"{error}; it is tried again"]
            self._lost = True
            return said
        events: list[Growth | str] = ["the cluster can be asked again"] if self._lost else []
        self._lost = False
        told = await self._told(sources)
        events += self._changes(told)
        events += self._gone({source.node.name for source in sources})
        grown = [growth for node in told if node.available for growth in self._memory.growth(node)]
        return events + await self._with_names(grown, sources)

    def close(self) -> None:
        """Leaves nobody asking."""
        for task in self._asked.values():
            task.cancel()

    async def _told(self, sources: Sequence[Source]) -> list[NodeDenials]:
        """The answers that have come, also to earlier questions."""
        for source in sources:
            if source.node.name not in self._asked:
                self._asked[source.node.name] = asyncio.create_task(self._ask(source))
        if self._asked:
            await asyncio.wait(self._asked.values(), timeout=_POLL)
        done = [source.node.name for source in sources if self._asked[source.node.name].done()]
        told = [self._asked.pop(name).result() for name in done]
        if not self._states:
            await assert_reached(self._client, [answer for answer, _ in told if answer])
        return [denials for _, denials in told]

    async def _ask(self, source: Source) -> tuple[Answer | None, NodeDenials]:
        answer = await ask(self._client, source, self._timeout)
        # At once: it says how long ago things were.
        return answer, read(source, answer, None)

    def _changes(self, told: Sequence[NodeDenials]) -> list[str]:
        """What has to be said of nodes that began or ceased to tell, or to tell all."""
        changed, back = [], []
        for node in told:
            before = self._states.get(node.node)
            state = self._states[node.node] = node.available, node.reason is not None
            if state != before:
                if node.reason is not None:
                    changed.append(node)
                if node.available and before and not before[0]:
                    back.append(node.node)
        return reasons(changed) + ([f"{few(back)}: answers again"] if back else [])

    def _gone(self, names: set[str]) -> list[str]:
        gone = sorted(self._states.keys() - names)
        for name in gone:
            del self._states[name]
        return [f"{few(gone)}: no longer in the cluster"] if gone else []

    async def _with_names(
        self, grown: Sequence[Growth], sources: Sequence[Source]
    ) -> list[Growth | str]:
        events: list[Growth | str] = []
        ends = {end for growth in grown for end in (growth.flow.source, growth.flow.destination)}
        now = asyncio.get_running_loop().time()
        if self._names is None or (ends - self._names.known.keys() and now - self._named >= _NAMES):
            first = self._names is None
            self._names = await names_of(self._client, [source.node for source in sources])
            self._named = now
            events += self._names.notes if first else ()
        known = self._names.known
        for growth in grown:
            source, destination = growth.flow.source, growth.flow.destination
            named = replace(
                growth.flow,
                source_name=known.get(source),
                destination_name=known.get(destination),
            )
            events.append(replace(growth, flow=named))
        return events
