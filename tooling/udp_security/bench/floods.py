# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Denied floods: what a packet costs against a drop in a raw hook, and what stays in memory."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Final

from udp_security.bench import policies, variants
from udp_security.bench.compare import compare
from udp_security.bench.results import Fact, PacketCost, Results
from udp_security.bench.source import Sources
from udp_security.bench.steps import Steps
from udp_security.bench.swaps import Flow
from udp_security.bench.track import DENIED_PORT, INPUT, Track
from udp_security.bench.variants import NftTables, Variant

# Size of the set of denied flows of one direction and family.
_FLOWS: Final = 1024
_SECONDS: Final = 0.04
_SOURCES: Final[tuple[Sources, ...]] = ("fixed", "random")
PREFILTER: Final = "ours with prefilter"

# The cheapest way to drop a packet behind the device's own hook: nobody has looked at it yet.
_BARE_DROP: Final = f"""table ip bench_raw {{
    chain prerouting {{
        type filter hook prerouting priority raw; policy accept;
        udp dport {DENIED_PORT} drop
    }}
}}
"""


def measure(results: Results, steps: Steps, *, rounds: int, seconds: float) -> None:
    """One source, and a new one for each packet; then a long flood of the latter."""
    with steps.step("floods: render"):
        values = policies.entries(1000)
        compared: list[Variant] = [
            NftTables("drop in a raw hook", [_BARE_DROP]),
            variants.nftables("ours", values),
            variants.nftables(PREFILTER, policies.with_linux(values, prefilter=True)),
            variants.Bare(),
        ]
    for sources in _SOURCES:
        with (
            Track() as track,
            variants.loaded(track, compared),
            track.source(INPUT, port=DENIED_PORT, sources=sources) as flood,
            steps.step(f"floods: {sources} source", rounds) as advance,
        ):
            found = compare(
                track, INPUT, flood, compared,
                rounds=rounds, seconds=_SECONDS, denied=True, progress=advance,
            )  # fmt: skip
        policy = f"denied, {sources} source"
        results.costs += [PacketCost(INPUT.name, policy, None, cost) for cost in found]
        (filtered,) = (cost for cost in found if cost.variant == PREFILTER)
        results.facts.append(
            Fact(f"denied packet with prefilter, {sources} source", filtered.ratio,
                 "x drop in a raw hook", most=1.2)
        )  # fmt: skip
    results.facts += _memory(steps, seconds)


def _memory(steps: Steps, seconds: float) -> list[Fact]:
    """What a flood from random sources leaves behind, and what it does to the allowed flow."""
    ours = variants.nftables("ours", policies.entries(1000))
    with (
        Track() as track,
        variants.loaded(track, [ours]),
        track.source(INPUT) as allowed,
        track.source(INPUT, port=DENIED_PORT, sources="random") as flood,
    ):
        ours.switch(track, True)
        calm = allowed.burst(0.3).cost
        with steps.step(f"floods: {seconds:g} s from random sources"):
            before = _slab()
            with Flow(flood) as sent:
                costs = [allowed.burst(0.1).cost for _ in range(round(10 * seconds))]
            grown = _slab() - before
        tracked = track.run("node", ["cat", "/proc/sys/net/netfilter/nf_conntrack_count"]).stdout
        (table,) = ours.tables("inet")
        listing = track.run("node", ["nft", "-j", "list", "table", "inet", table])
    remembered = sum(
        len(entry["set"].get("elem", ()))
        for entry in json.loads(listing.stdout)["nftables"]
        if re.fullmatch(r"denied\..*\.ip6?", entry.get("set", {}).get("name", ""))
    )
    of = f"of {sent.packets:,} packets"
    return [
        Fact("denied flows remembered after a random flood", remembered, of, most=_FLOWS),
        Fact("conntrack entries after it", int(tracked), of, most=10),
        Fact("kernel memory (slab) of the whole machine grown by it", grown / 1024, "MiB"),
        Fact("allowed packet during it", statistics.median(costs) / calm, "x before", most=1.1),
    ]


def _slab() -> int:
    """KiB of kernel memory in caches that cannot be given back."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    found = re.search(r"^SUnreclaim: +(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else 0
