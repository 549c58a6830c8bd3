# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Random policies and real packets: what the iptables backend loads does what the oracle says, in
both variants of the tools. As ``test_differential`` for nftables, which see."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from tests import strategies
from tests.lab.differential import Case, agree
from tests.lab.iptables import VARIANTS, Counting, Variant, call, legacy_missing, prepare, saved
from tests.lab.test_differential import (
    NOTRACK,
    PACKETS,
    SEEDS,
    behind_nat,
    nat_flows,
    nat_values,
    other_table,
    sample,
    translator,
)
from tests.unit.test_iptables_compiler import policy_text

from udp_security.lab.wire import Wire


@dataclass(frozen=True)
class IptablesCase(Case):
    """A policy that nobody caches verdicts of, and no bridge is watched for."""

    @property
    def counters(self) -> set[str]:
        """Every counter that the policy has."""
        return super().counters - {"denied.spoofed"}


def case_of(values: Mapping[str, Any]) -> Case:
    """The values with this backend."""
    linux = {
        **values.get("linux", {}), "backend": "iptables", "verdictCache": {"enabled": False}
    }  # fmt: skip
    return IptablesCase.of({**values, "linux": linux})


class Applier:
    """Puts policies in force in a wire's node with the agent's own functions."""

    def __init__(self, wire: Wire, state: Path, variant: Variant) -> None:
        self.wire, self.variant, self._state = wire, variant, state
        self.counting = Counting(wire.run, variant)

    def apply(self, case: Case) -> None:
        """In force when this returns."""
        prepare(self._state, dict(case.files), self.variant)
        call(self.wire.run, self._state, "apply applied")

    def remove(self) -> None:
        """Nothing of ours is left."""
        call(self.wire.run, self._state, 'iptables_remove "$SELF"')
        assert "UDPSEC" not in "".join(saved(self.wire.run, self.variant).values())


@pytest.fixture(scope="module", params=VARIANTS)
def applier(
    wire: Wire, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Applier]:
    """The backend in one of the variants."""
    if request.param == "legacy":
        skip_without_legacy(wire)
    made = Applier(wire, tmp_path_factory.mktemp("state"), request.param)
    yield made
    made.remove()


def skip_without_legacy(wire: Wire) -> None:
    """Skips, saying why, but fails on CI."""
    if why := legacy_missing(wire.run):
        assert not os.environ.get("CI"), why
        pytest.skip(why)


@strategies.examples(8)
@given(values=strategies.values(), seed=SEEDS)
def test_tracked_packets(applier: Applier, values: dict[str, Any], seed: int) -> None:
    case = case_of(values)
    assert case.files["policy.rules"] == policy_text(case.values)
    applier.apply(case)
    agree(applier.wire, case, sample(values, seed), counting=applier.counting)


@strategies.examples(6)
@given(values=strategies.values(), seed=SEEDS)
def test_untracked_packets(applier: Applier, values: dict[str, Any], seed: int) -> None:
    case = case_of(values)
    applier.apply(case)
    with other_table(applier.wire, NOTRACK):
        agree(applier.wire, case, sample(values, seed), tracked=False, counting=applier.counting)


@strategies.examples(2)
@given(first=strategies.values(), second=strategies.values(), seed=SEEDS)
def test_swapped_policies(
    applier: Applier, first: dict[str, Any], second: dict[str, Any], seed: int
) -> None:
    """The flows of both policies meet the first one, the second one and the first one again."""
    ports: dict[int, int] = {}
    one, other = case_of(first), case_of(second)
    flows = sample(first, seed)[: PACKETS // 2] + sample(second, seed)[: PACKETS // 2]
    for case in (one, other, one):
        before = applier.counting.packets()
        applier.apply(case)
        kept = {name: before.get(name, 0) for name in case.counters}
        assert applier.counting.packets() == kept
        agree(applier.wire, case, flows, ports=ports, counting=applier.counting)


@pytest.mark.parametrize("variant", VARIANTS)
def test_translated_packets(tmp_path: Path, variant: Variant) -> None:
    case, flows = case_of(nat_values("enforce")), nat_flows()
    with translator() as wire:
        if variant == "legacy":
            skip_without_legacy(wire)
        applier = Applier(wire, tmp_path, variant)
        applier.apply(case)
        translated = list(map(behind_nat, flows))
        agree(wire, case, flows, translated=translated, counting=applier.counting)
