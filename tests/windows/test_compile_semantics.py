# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Random policies and flows: the compiled rules, judged by the model, do what the oracle says.

The same examples every time; to look for new ones, say how many policies each test shall try:

    UDP_SECURITY_FUZZ=2000 make test JOBS=0 ARGS='tests/windows/test_compile_semantics.py'
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from itertools import islice
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies
from tests.windows.policies import policy_json

from udp_security.policy import Flow, Policy, decide
from udp_security.policy.model import networks
from udp_security.policy.oracle import contains
from udp_security.windows.compiler import Compiler
from udp_security.windows.firewall import Firewall, FirewallRule, Profile

FLOWS: Final = 450
_LOOPBACK: Final = networks(["127.0.0.0/8", "::1"])
_UNSPECIFIED: Final = IPv6Address("::")
# Every flow reaches the rules: what nothing blocks, inbound too, passes.
_OPEN: Final = (Profile("Public", default_inbound="Allow"),)


@pytest.fixture(scope="module")
def compiler(pwsh: str) -> Iterator[Compiler]:
    with Compiler() as running:
        yield running


def possible(flow: Flow) -> bool:
    """Whether the flow can meet the firewall's rules at all.

    A loopback address at one end alone never leaves or reaches a host, ``::`` is no flow's end, and
    no firewall rule can name it.
    """
    ends = (flow.source, flow.destination)
    return not any(contains(_LOOPBACK, end) or end == _UNSPECIFIED for end in ends)


def disagreements(
    values: dict[str, Any], rules: list[FirewallRule], flows: Iterator[Flow]
) -> list[str]:
    merged = strategies.merged(values)
    policy = Policy.from_values(merged, os="windows")
    closed, opened = Firewall(rules), Firewall(rules, _OPEN)
    found = []
    for flow in flows:
        if flow.direction == "forward" or not possible(flow):
            continue
        decision = decide(policy, flow)
        enforced = policy.mode == "enforce" and decision.judged
        denied = enforced and decision.verdict == "deny"
        verdict = opened.admits(flow.direction, flow.source, flow.destination, flow.port)
        if verdict.allowed == denied:
            found.append(f"{flow}: the oracle says {decision}, the firewall {verdict.reason}")
        if flow.direction == "ingress":
            # With Windows' own default what is not allowed is closed, be it judged or not.
            passes = enforced and not denied
            verdict = closed.admits(flow.direction, flow.source, flow.destination, flow.port)
            if verdict.allowed != passes:
                found.append(f"{flow}, closed: {decision}, the firewall {verdict.reason}")
    return found


@given(values=strategies.values(), seed=st.integers(0, 2**32 - 1))
@strategies.examples(120)
def test_the_rules_mean_what_the_oracle_says(
    compiler: Compiler, values: dict[str, Any], seed: int
) -> None:
    rules = compiler(policy_json(strategies.merged(values)))
    flows = islice(strategies.flows(values, random.Random(seed)), FLOWS)
    assert not disagreements(values, rules, flows)


@pytest.mark.parametrize("loopback", ["127.0.0.1", "127.0.0.0/8", "::1", "::"])
@pytest.mark.parametrize("first", [0, 1])
def test_a_rule_for_loopback_takes_nothing_from_others(
    compiler: Compiler, loopback: str, first: int
) -> None:
    rules = [
        {"name": "local", "direction": "ingress", "ports": [8125], "to": [loopback]},
        {"name": "syslog", "direction": "ingress", "ports": [514]},
    ]
    values = {"windows": {"scope": "host"}, "rules": [rules[first], rules[1 - first]]}
    firewall = Firewall(compiler(policy_json(strategies.merged(values))))
    for source, host in (("10.1.2.3", "172.19.1.1"), ("fd00::7", "fd00::1")):
        ends = ip_address(source), ip_address(host)
        assert firewall.admits("ingress", *ends, 514).allowed
        assert not firewall.admits("ingress", *ends, 8125).allowed
