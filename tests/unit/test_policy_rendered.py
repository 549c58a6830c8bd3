# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A policy read back from what the chart makes of the values is the policy of the values."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.chart.conftest import helm
from tests.chart.support import Helm, printing_chart

from udp_security.policy import Flow, Policy, decide
from udp_security.policy.facts import CacheBits
from udp_security.policy.model import DIRECTIONS, OperatingSystem
from udp_security.policy.rendered import linux_policy, nftables_policy, windows_policy

__all__ = ["helm"]

_FLOWS = 300
_TEMPLATE = """\
policies:
{{- range .Values.policies }}
{{- $p := dict "root" (dict "Values" . "Files" $.Files "Chart" $.Chart) }}
{{- include "udp-security.policy" $p }}
- facts: {{ include "udp-security.linux.facts" $p | toJson }}
  rules: {{ include "udp-security.linux.rules" $p | toJson }}
  nft: {{ include "udp-security.ruleset" $p | toJson }}
  json: {{ include "udp-security.windows.policy" $p | toJson }}
{{- end }}
"""
_FACTS = """\
mode enforce
denyAction drop
scope host
backend auto
cache 24 21 ff000000 on
nodeCIDRs 10.0.0.0/24
podCIDRs
"""
_RULES = "cluster4 10.0.0.0/24\ncluster6 none\n"


@pytest.fixture(scope="session")
def printer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart that prints what the agents get of each of its `policies`."""
    return printing_chart(tmp_path_factory.mktemp("printer"), _TEMPLATE)


def same(read: Policy, values: Mapping[str, Any], os: OperatingSystem, seed: int) -> None:
    """Asserts that a policy decides as that of the values does, flow by flow, by the same rules."""
    meant = Policy.from_values(strategies.merged(values), os)
    assert (read.mode, read.deny_action, read.scope) == (meant.mode, meant.deny_action, meant.scope)
    for flow in islice(strategies.flows(values, random.Random(seed)), _FLOWS):
        if (os, flow.direction) != ("windows", "forward"):
            assert _said(read, flow) == _said(meant, flow)


def _said(policy: Policy, flow: Flow) -> tuple[str, bool, list[str]]:
    decision = decide(policy, flow)
    return decision.verdict, decision.judged, [rule.name for rule in decision.rules]


# Not shrunk: each try runs Helm.
@settings(strategies.examples(4), phases=[Phase.generate])
@given(policies=st.lists(strategies.values(), min_size=5, max_size=8), seed=st.integers(0, 2**32))
def test_every_policy_is_read_back(
    helm: Helm, printer: Path, policies: list[dict[str, Any]], seed: int
) -> None:
    merged = [strategies.merged(values) for values in policies]
    text = helm.template({"policies": merged}, chart=printer)
    made = yaml.load(text, yaml.CSafeLoader)["policies"]
    for values, files in zip(policies, made, strict=True):
        same(linux_policy(files["rules"], files["facts"]), values, "linux", seed)
        same(nftables_policy(files["nft"], files["facts"]), values, "linux", seed)
        same(windows_policy(files["json"]), values, "windows", seed)


@given(
    run=st.integers(4, 32),
    shift=st.integers(0, 28),
    number=st.integers(1, 10**6),
    other=st.integers(1, 10**6),
    index=st.integers(0, 2),
    noise=st.integers(0, 2**32 - 1),
)
def test_cached_verdicts_are_those_of_one_generation(
    run: int, shift: int, number: int, other: int, index: int, noise: int
) -> None:
    """The value as the agent makes it, whatever stands in the other bits."""
    run = min(run, 32 - shift)
    flags = 3 << (run - 2)
    mask = ((1 << run) - 1) << shift
    bits = CacheBits(shift, min(85, ((1 << (run - 2)) - 1) // 3), mask)
    value = (3 * (number % bits.slots) + index + 1) << shift
    mark = value | (noise & ~mask) | (noise & (flags << shift))
    assert bits.accepted_as(mark, number) == DIRECTIONS[index]
    assert bits.accepted_as(mark & ~(mask ^ (flags << shift)), number) is None
    same_slot = (number - other) % bits.slots == 0
    assert (bits.accepted_as(mark, other) is not None) is same_slot


def test_the_clusters_own_addresses_are_told_apart() -> None:
    facts = _FACTS.replace("podCIDRs", "podCIDRs 10.1.0.0/16 fd00::/64")
    rules = "cluster4 10.1.0.0/16,10.2.0.0/16,10.0.0.0/24\ncluster6 fd00::/64\n"
    cluster = linux_policy(rules, facts).cluster
    assert [str(net) for net in cluster.pods] == ["10.1.0.0/16", "fd00::/64"]
    assert [str(net) for net in cluster.services] == ["10.2.0.0/16"]
    assert [str(net) for net in cluster.nodes] == ["10.0.0.0/24"]


_RULE = "ingress r.a 1-1 any any any any\n"
_JSON: dict[str, Any] = {
    "mode": "enforce",
    "denyAction": "drop",
    "scope": "host",
    "nodeCIDRs": [],
    "clusterCIDRs": [],
    "rules": [{"name": "a", "direction": "ingress", "ports": ["1-1"], "from": None, "to": None}],
}


def test_what_the_next_tests_damage_is_right() -> None:
    assert [rule.name for rule in linux_policy(_RULES + _RULE, _FACTS).rules] == ["a"]
    assert [rule.name for rule in windows_policy(json.dumps(_JSON)).rules] == ["a"]


@pytest.mark.parametrize(
    ("rules", "facts"),
    [
        ("", _FACTS),
        (_RULES, ""),
        (_RULES, _FACTS.replace("enforce", "learn")),
        (_RULES, _FACTS.replace("cache 24", "cache 99")),
        (_RULES, _FACTS.replace("backend auto", "backend pf")),
        (_RULES + _RULE.replace("ingress", "inward"), _FACTS),
        (_RULES + _RULE.replace("r.a", "r.\x1b[31m"), _FACTS),
        (_RULES + _RULE.replace("1-1", "one"), _FACTS),
        (_RULES + _RULE.replace(" any", "", 1), _FACTS),
        (_RULES + _RULE.replace("any", "10.0.0.0/33", 1), _FACTS),
    ],
)
def test_other_rules_are_refused(rules: str, facts: str) -> None:
    with pytest.raises(
        ValueError, match=r"this policy\.rules is not what the chart makes: .* \("
    ) as why:
        linux_policy(rules, facts)
    assert str(why.value).isprintable()


@pytest.mark.parametrize("ruleset", ["", "table inet udp_security {\n\tchain g0.ingress {\n\t}\n}"])
def test_other_rulesets_are_refused(ruleset: str) -> None:
    with pytest.raises(ValueError, match=r"this policy\.nft is not what the chart makes: .* \("):
        nftables_policy(ruleset, _FACTS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        json.dumps({**_JSON, "rules": None}),
        json.dumps({**_JSON, "rules": [{**_JSON["rules"][0], "direction": "inward"}]}),
        json.dumps({**_JSON, "rules": [{**_JSON["rules"][0], "name": "\x1b[31m"}]}),
        json.dumps({**_JSON, "scope": "world"}),
        json.dumps({**_JSON, "clusterCIDRs": ["10.0.0.0/33"]}),
    ],
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"this policy\.json is not what the chart makes: .* \("):
        windows_policy(text)
