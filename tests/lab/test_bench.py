# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The benchmark: a small run measures everything, and its ratios are right."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from udp_security.bench import report, source
from udp_security.bench.compare import compare, costs
from udp_security.bench.results import Results
from udp_security.bench.run import Scale, run
from udp_security.bench.source import Burst
from udp_security.bench.steps import Steps
from udp_security.bench.track import DENIED_PORT, INPUT, Track
from udp_security.bench.variants import Bare
from udp_security.lab import tools
from udp_security.lab.errors import LabError

TINY = Scale(
    rounds=1, routes=(INPUT,), sizes=(10, 1000), distinct=20,
    size=11, swaps=10, times=1, seconds=0.3,
)  # fmt: skip


@pytest.fixture(scope="module")
def results() -> Results:
    """Of a run with numbers too small to mean anything."""
    return run(Steps(Console(stderr=True)), TINY)


def test_every_variant_is_measured(results: Results) -> None:
    variants = [one.cost.variant for one in results.costs if one.policy == "10 entries"]
    assert variants[0] == "bare"
    assert len(set(variants)) == len(variants) == 8 - len(results.notes)
    assert all(one.cost.ns > 0 for one in results.costs)


def test_a_long_list_is_dearer_than_ours(results: Results) -> None:
    """At a thousand rules tenfold and more: even on a busy machine it shows."""
    (fact,) = (fact for fact in results.facts if fact.name.startswith("what the reference adds"))
    assert fact.met


def test_swaps_lose_and_leak_nothing(results: Results) -> None:
    counts = {fact.name: fact.value for fact in results.facts if " packets " in fact.name}
    assert counts["allowed packets lost in 10 swaps of 11 entries"] == 0
    (seen,) = (
        fact.spread for fact in results.facts if fact.name.startswith("allowed packets lost")
    )
    assert "generation 1 to 11, cache in use after 1 of 1 tens" in seen
    assert counts["denied packets passed in 10 swaps of 11 entries"] == 0


def test_report(results: Results, tmp_path: Path) -> None:
    written = report.write(results, tmp_path)
    assert [path.name for path in written] == ["results.csv", "results.md", "costs.svg"]
    rows = list(csv.DictReader(io.StringIO(written[0].read_text(encoding="utf-8"))))
    assert len(rows) == len(results.machine) + len(results.costs) + len(results.facts)
    assert f"| {results.facts[0].name} |" in written[1].read_text(encoding="utf-8")
    assert written[2].read_text(encoding="utf-8").count("<polyline") == 8 - len(results.notes)


def test_ratios_are_taken_within_a_round() -> None:
    """The machine gets slower from round to round, threefold; the variants' ratio stays."""
    bare, double = costs(["bare", "double"], [(100.0, 200.0), (200.0, 400.0), (300.0, 630.0)])
    assert (bare.ns, bare.ratio, bare.extra) == (200.0, 1.0, 0.0)
    assert (double.ns, double.ratio, double.extra) == (400.0, 2.0, 200.0)
    assert (double.low, double.high) == pytest.approx((2.0, 2.05))


def test_a_variant_that_denies_the_flow_is_no_cheap_one() -> None:
    with (
        Track() as track,
        track.source(INPUT, port=DENIED_PORT) as flow,
        pytest.raises(LabError, match=r"bare, input: 0 of \d+ packets arrived"),
    ):
        compare(track, INPUT, flow, [Bare()], rounds=1, seconds=0.01)


def test_rate() -> None:
    assert Burst(packets=10, elapsed=0.5, cost=1.0).rate == 20.0


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tools, "SEARCH", str(tmp_path))
    with pytest.raises(LabError, match=r"C compiler[^\n]*\n[^\n]*apt-get install gcc"):
        source.compiled(tmp_path)
