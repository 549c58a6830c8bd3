# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A whole run, and how much of everything it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from udp_security.bench import agent, floods, packets, swaps
from udp_security.bench.results import Results, describe_machine
from udp_security.bench.steps import Steps
from udp_security.bench.track import FORWARD, INPUT, ROUTES, Route
from udp_security.lab import sandbox


@dataclass(frozen=True)
class Scale:
    """``sizes`` are the policies whose packets are measured, and ``distinct`` the rules of another;
    ``size`` is the agent's large policy, which is swapped ``swaps`` times. Every damage is healed
    ``times``; rest takes ``seconds``, storm and flood a third of that."""

    rounds: int
    routes: Sequence[Route]
    sizes: Sequence[int]
    distinct: int
    size: int
    swaps: int
    times: int
    seconds: float


FULL: Final = Scale(
    rounds=40, routes=ROUTES, sizes=(10, 100, 1000, 10000), distinct=1000,
    size=10000, swaps=1000, times=50, seconds=60,
)  # fmt: skip
QUICK: Final = Scale(
    rounds=5, routes=(INPUT, FORWARD), sizes=(10, 1000), distinct=1000,
    size=1000, swaps=20, times=3, seconds=5,
)  # fmt: skip


_ROOTLESS: Final = 1000


def run(steps: Steps, scale: Scale) -> Results:
    """Measure everything. LabError where something that is needed is missing."""
    sandbox.enter()
    results = Results(describe_machine())
    packets.measure(
        results, steps,
        rounds=scale.rounds, routes=scale.routes, sizes=scale.sizes, distinct=scale.distinct,
    )  # fmt: skip
    floods.measure(results, steps, rounds=scale.rounds, seconds=scale.seconds / 3)
    size = scale.size
    if sandbox.rootless() and size > _ROOTLESS:
        size = _ROOTLESS
        results.notes.append(
            f"the agent's large policy has {size:,} entries, not {scale.size:,}: in a plain user's "
            "namespace nft cannot send the kernel more at once (run as root)"
        )
    agent.measure(results, steps, size=size, times=scale.times, seconds=scale.seconds)
    swaps.measure(results, steps, size=size, times=scale.swaps)
    return results
