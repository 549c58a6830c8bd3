# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the cluster's own addresses make of the values."""

from __future__ import annotations

import pytest

from udp_security.chart import chart_dir
from udp_security.cluster.facts import NODE, POD, SERVICE, addition, missing
from udp_security.cluster.plan import UncoveredError, plan
from udp_security.values import validation

FACTS = {
    POD: ["10.244.0.0/24", "fd00:1::/64"],
    SERVICE: ["10.96.0.0/12"],
    NODE: ["10.9.0.1/32", "fd00::1/128"],
}


def test_what_is_covered_is_not_missing() -> None:
    known = {POD: ["10.244.0.0/16", "fd00::/16"], SERVICE: ["10.0.0.0/8"], NODE: ["0.0.0.0/0"]}
    assert missing(known, FACTS) == {NODE: ["fd00::1/128"]}


@pytest.mark.parametrize("known", [["10.244.0.0/25"], ["10.245.0.0/16"], ["::/0"]])
def test_a_part_does_not_cover(known: list[str]) -> None:
    assert missing({POD: known}, {POD: ["10.244.0.0/24"]}) == {POD: ["10.244.0.0/24"]}


def test_as_few_networks_as_hold_the_same() -> None:
    facts = {POD: [f"10.244.{n}.0/24" for n in range(256)] + ["10.244.7.0/24"]}
    assert missing({}, facts) == {POD: ["10.244.0.0/16"]}


def test_foreign_networks_go_unless_somebody_may_have_written_them() -> None:
    known = {POD: ["172.20.0.0/16", "10.244.0.0/24"]}
    facts = {POD: ["10.244.0.0/24", "10.244.5.0/24"]}
    assert addition(known, facts) == {POD: ["10.244.0.0/24", "10.244.5.0/24"]}
    kept = addition(known, facts, keep_all=True)
    assert kept == {POD: ["172.20.0.0/16", "10.244.0.0/24", "10.244.5.0/24"]}


def test_nothing_changes_where_all_is_covered() -> None:
    known = {POD: ["172.20.0.0/16", "10.0.0.0/8"]}
    assert addition(known, {POD: ["10.244.0.0/24"]}) == {}


def test_the_users_lists_stay() -> None:
    values = validation.load(chart_dir(), [], ["cluster.nodeCIDRs={10.9.0.0/16,fd00::/64}"])
    planned = plan(values, None, FACTS).values
    assert planned.merged["cluster"][NODE] == ["10.9.0.0/16", "fd00::/64"]
    assert planned.merged["cluster"][POD] == FACTS[POD]
    # The defaults that nobody had to change are not written down.
    assert "dnsServers" not in planned.overrides["cluster"]


def test_the_users_lists_are_refused_where_they_lack_something() -> None:
    values = validation.load(chart_dir(), [], ["cluster.nodeCIDRs={10.9.0.0/16}"])
    with pytest.raises(UncoveredError) as caught:
        plan(values, None, FACTS)
    assert 'nodeCIDRs: ["10.9.0.0/16", "fd00::1/128"]' in str(caught.value)


def test_kept_values_get_what_they_lack() -> None:
    kept = {"mode": "audit", "cluster": {NODE: ["10.9.0.1"], POD: ["10.244.0.0/16"]}}
    values = validation.load(chart_dir(), [], ["mode=enforce"])
    planned = plan(values, kept, FACTS).values
    assert planned.merged["mode"] == "enforce"
    assert planned.overrides["cluster"][NODE] == ["10.9.0.1", "fd00::1/128"]
    assert planned.overrides["cluster"][POD] == ["10.244.0.0/16", "fd00:1::/64"]
