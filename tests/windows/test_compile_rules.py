# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The form of the compiled rules: names, limits, addresses; and many rules in few."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from itertools import islice
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies
from tests.windows.policies import egress, ingress, policy_json, rules_only
from tests.windows.test_compile_semantics import disagreements, possible

from udp_security.windows.compiler import Compiler
from udp_security.windows.firewall import ANY, FirewallRule
from udp_security.windows.intervals import bounds_of, inside

Json = dict[str, Any]

MOST_ADDRESSES: Final = 500
_NAME: Final = re.compile(r"udp-security-[0-9a-f]{16}")
_LOOPBACK: Final = bounds_of(["127.0.0.0/8", "::1"])
# With these no IPv6 range may begin or end.
_UNWRITABLE: Final = {ip_address("::"), ip_address("::1")}


@pytest.fixture(scope="module")
def compiler(pwsh: str) -> Iterator[Compiler]:
    with Compiler() as running:
        yield running


def shuffled(policy: Json, seed: int) -> Json:
    """The same policy, told in another order."""
    told = copy.deepcopy(policy)
    numbers = random.Random(seed)
    numbers.shuffle(told["rules"])
    for rule in told["rules"]:
        for key in "ports", "from", "to":
            if rule[key]:
                numbers.shuffle(rule[key])
    numbers.shuffle(told["clusterCIDRs"])
    return told


def ends(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """First and last of ranges; a single one is both."""
    for text in texts:
        first, _, last = text.partition("-")
        yield first, last or first


def check_form(rule: FirewallRule) -> None:
    """What holds for every rule, whatever its policy."""
    assert _NAME.fullmatch(rule.name)
    assert (rule.enabled, rule.profiles, rule.protocol) == (True, ANY, "UDP")
    assert rule.direction == "Inbound" or rule.action == "Block"
    ours, theirs = rule.local_ports, rule.remote_ports
    if rule.direction == "Outbound":
        ours, theirs = theirs, ours
    assert theirs == ANY
    if ours != ANY:
        places = [int(port) for range_ in ends(ours) for port in range_]
        assert [0, *places, 65535] == sorted([0, *places, 65535])
        # Neither do ranges overlap, nor do two say what one could.
        assert all(
            later > earlier + 1 for earlier, later in zip(places[1:-1:2], places[2::2], strict=True)
        )
    check_addresses(rule.remote_addresses)
    if rule.local_addresses != ANY:
        check_addresses(rule.local_addresses)
        texts = [*rule.local_addresses, *rule.remote_addresses]
        assert len({":" in text for text in texts}) == 1


def check_addresses(texts: tuple[str, ...]) -> None:
    assert 0 < len(texts) <= MOST_ADDRESSES
    for text, pair in zip(texts, ends(texts), strict=True):
        first, last = map(ip_address, pair)
        assert first.version == last.version
        assert not _UNWRITABLE & {first, last}
        assert (int(first) < int(last)) == ("-" in text)
    bounds = bounds_of(texts)
    assert not overlap(bounds, _LOOPBACK)


def overlap(bounds: list[int], others: list[int]) -> bool:
    """Whether two sets have something in common."""
    return any(inside(bounds, first) for first in others[::2]) or any(
        inside(others, first) for first in bounds[::2]
    )


def within(bounds: list[int], others: list[int]) -> bool:
    """Whether the second set holds all of the first."""
    outside = [0, *others, 1 << 130]
    return not overlap(bounds, [place for place in outside if outside.count(place) == 1])


@given(values=strategies.values(), seed=st.integers(0, 2**32 - 1))
@strategies.examples(100)
def test_every_rule(compiler: Compiler, values: Json, seed: int) -> None:
    policy = policy_json(strategies.merged(values))
    rules = compiler(policy)
    for rule in rules:
        check_form(rule)
    assert len({rule.name for rule in rules}) == len(rules)
    assert set(compiler(shuffled(policy, seed))) == set(rules)
    assert compiler({**policy, "mode": "audit"}) == []
    assert (not rules) == (policy["mode"] == "audit")


@given(values=strategies.values())
@strategies.examples(60)
def test_scope_cluster_names_nobody_else(compiler: Compiler, values: Json) -> None:
    policy = policy_json(strategies.merged(values))
    policy |= {"mode": "enforce", "scope": "cluster"}
    cluster = bounds_of(policy["clusterCIDRs"])
    for rule in compiler(policy):
        assert within(bounds_of(rule.remote_addresses), cluster)


def test_names_tell_what_rules_say(compiler: Compiler) -> None:
    """Two rules have one name only if they are one."""
    by_name: dict[str, FirewallRule] = {}
    policies = [
        rules_only(rule(*ports, **{end: [cidr]}), scope=scope)
        for rule, end in ((ingress, "from_"), (ingress, "to"), (egress, "to"), (egress, "from_"))
        for ports in ((53,), (54,), (53, 54), ("53-55",))
        for cidr in ("10.0.0.0/8", "172.20.0.0/16", "fd00::/8")
        for scope in ("host", "cluster")
    ]
    for policy in policies:
        for rule in compiler(policy):
            assert by_name.setdefault(rule.name, rule) == rule
    # Each policy says something of its own.
    assert len(by_name) > len(policies)


def test_another_process_makes_the_same_rules(compiler: Compiler) -> None:
    policies = [crowd(seed) for seed in range(3)]
    with Compiler() as another:
        for policy in policies:
            told = policy_json(strategies.merged(policy))
            assert another(told) == compiler(told)


def crowd(seed: int) -> Json:
    """A user's values with 60 to 150 rules: own ports, a few wide or shared networks.

    Nine of ten are of one direction, which is egress for an even seed.
    """
    numbers = random.Random(seed)
    wide = ["10.0.0.0/8", "10.64.0.0/10", "fd00::/16", "0.0.0.0/1"]

    def cidrs() -> list[str]:
        own = [
            f"10.{numbers.randrange(256)}.{numbers.randrange(0, 256, 4)}.0/22"
            for _ in range(numbers.randint(1, 6))
        ]
        if numbers.random() < 0.3:
            own.append(f"fd00:{numbers.randrange(1 << 16):x}::/32")
        if numbers.random() < 0.1:
            own.append(numbers.choice(wide))
        return own

    rules = []
    usual, other = (ingress, egress) if seed % 2 else (egress, ingress)
    for number in range(numbers.randint(60, 150)):
        make = other if number % 10 == 0 else usual
        remote, local = ("from_", "to") if make is ingress else ("to", "from_")
        sides = {remote: cidrs()}
        if numbers.random() < 0.05:
            sides[local] = ["172.19.1.1", "fd00:19::1"]
        ports: list[int | str] = [20000 + 3 * number]
        if numbers.random() < 0.1:
            ports.append(f"{30000 + number}-{30005 + number}")
        rules.append({"name": f"r{number}", **make(*ports, **sides)})
    return {
        "presets": dict.fromkeys(strategies.PRESETS, False),
        "windows": {"scope": "host"},
        "rules": rules,
    }


@pytest.mark.parametrize("seed", range(6))
def test_crowded_policies_mean_what_the_oracle_says(compiler: Compiler, seed: int) -> None:
    values = crowd(seed)
    rules = compiler(policy_json(strategies.merged(values)))
    for rule in rules:
        check_form(rule)
    usual, side = ("ingress", "Inbound") if seed % 2 else ("egress", "Outbound")
    blocks = [
        r for r in rules if (r.direction, r.action, r.local_addresses) == (side, "Block", ANY)
    ]
    # Each of these rules has a port that no other one has.
    assert len(blocks) < sum(rule["direction"] == usual for rule in values["rules"])
    flows = (
        flow
        for flow in strategies.flows(values, random.Random(seed))
        if flow.direction != "forward" and possible(flow)
    )
    assert not disagreements(values, rules, islice(flows, 1500))
