# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Results as results.csv, results.md and costs.svg."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from udp_security.bench import plot
from udp_security.bench.results import Fact, PacketCost, Results

COST_HEADER: Final = ("route", "policy", "variant", "ns/packet", "added", "x bare", "quartiles")
FACT_HEADER: Final = ("what", "measured", "target", "met", "seen")


def write(results: Results, directory: Path) -> list[Path]:
    """Write the three files, over older ones; returns them. OSError where that fails."""
    directory.mkdir(parents=True, exist_ok=True)
    table, text = directory / "results.csv", directory / "results.md"
    with table.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(_csv(results))
    text.write_text(markdown(results), encoding="utf-8")
    written = [table, text]
    drawn = plot.costs(results.costs)
    if drawn:
        written.append(directory / "costs.svg")
        written[-1].write_text(drawn, encoding="utf-8")
    return written


def cost_row(one: PacketCost) -> tuple[str, ...]:
    """Cells for COST_HEADER."""
    cost = one.cost
    return (
        one.route,
        one.policy,
        cost.variant,
        f"{cost.ns:,.0f}",
        f"{cost.extra:+,.0f}",
        f"{cost.ratio:.3f}",
        f"{cost.low:.3f} - {cost.high:.3f}",
    )


def fact_row(fact: Fact) -> tuple[str, ...]:
    """Cells for FACT_HEADER."""
    met = {None: "", True: "yes", False: "NO"}[fact.met]
    number = f"{fact.value:,.0f}" if abs(fact.value) >= 1000 else f"{fact.value:.3g}"
    return (fact.name, f"{number} {fact.unit}", fact.target, met, fact.spread)


def markdown(results: Results) -> str:
    """The whole report."""
    machine = [(name, value) for name, value in results.machine.items()]
    parts = [_table(("machine", ""), machine)]
    if results.costs:
        parts.append(_table(COST_HEADER, map(cost_row, results.costs), numbers=(3, 4, 5)))
    if results.facts:
        parts.append(_table(FACT_HEADER, map(fact_row, results.facts), numbers=(1,)))
    parts += [f"- {note}\n" for note in results.notes]
    return "\n".join(parts)


def _table(
    header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()
) -> str:
    marks = ["---:" if i in numbers else "---" for i in range(len(header))]
    lines = [header, marks, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _csv(results: Results) -> Iterator[tuple[object, ...]]:
    yield ("kind", "route", "policy", "name", "value", "unit", "ratio", "low", "high", "target")
    for name, text in results.machine.items():
        yield ("machine", "", "", name, text, "", "", "", "", "")
    for one in results.costs:
        cost = one.cost
        ratios = (f"{number:.4f}" for number in (cost.ratio, cost.low, cost.high))
        yield ("cost", one.route, one.policy, cost.variant, f"{cost.ns:.1f}", "ns", *ratios, "")
    for fact in results.facts:
        yield ("fact", "", "", fact.name, f"{fact.value:.6g}", fact.unit, "", "", "", fact.target)
