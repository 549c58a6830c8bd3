# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Large policies: they render in time, fit, and load; larger ones are refused in clear words."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from random import Random
from typing import Any

import pytest

from .conftest import Load
from .support import Helm, Refused, Rendered, refusals, rule

# Promised for 1,000 rules with 10 CIDRs each. Processor time, since other tests run beside these;
# Helm itself is done sooner, as it uses a second processor for its garbage.
SECONDS = 10


def ipv4(random: Random) -> str:
    """A random IPv4 network."""
    return str(IPv4Network((random.getrandbits(32), random.randint(12, 32)), strict=False))


def ipv6(random: Random) -> str:
    """A random unique local IPv6 network, long in writing."""
    address = 0xFD << 120 | random.getrandbits(120)
    return str(IPv6Network((address, random.randint(48, 128)), strict=False))


def policy_of(family: str) -> dict[str, Any]:
    """1,000 rules over all directions, 10 CIDRs each, two of them on many ports."""
    random = Random(family)
    makers = {"ipv4": [ipv4], "ipv6": [ipv6], "mixed": [ipv4, ipv6]}[family]
    rules = []
    for index in range(1000):
        direction = ("ingress", "egress", "forward")[index % 3]
        low = 1000 + 10 * index
        end = "to" if direction == "egress" else "from"
        cidrs = [makers[n % len(makers)](random) for n in range(10)]
        ports = [f"{low}-{low + 40}"] if index % 2 else [low]
        rules.append({**rule(f"rule-{index}", direction=direction, ports=ports), end: cidrs})
    return {"rules": rules}


def long_rule() -> dict[str, Any]:
    """One rule with 10,000 CIDRs."""
    random = Random(1)
    return {"rules": [rule("long", from_=[ipv4(random) for _ in range(10_000)])]}


def ten_deep() -> dict[str, Any]:
    """1,000 rules with 10 CIDRs each, of which ten apply to every port."""
    random = Random(1)
    return {
        "rules": [
            rule(
                f"rule-{index}",
                ports=[f"{10_000 + 10 * index}-{10_099 + 10 * index}"],
                from_=[ipv4(random) for _ in range(10)],
            )
            for index in range(1000)
        ]
    }


def processor_time() -> float:
    """Seconds that this process's children have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("which", "family"),
    [("helm", "ipv4"), ("helm", "ipv6"), ("helm", "mixed"), ("helm3", "mixed")],
)
def test_a_thousand_rules_of_ten_cidrs(
    request: pytest.FixtureRequest,
    load: Load,
    which: str,
    family: str,
    record_property: Callable[[str, object], None],
) -> None:
    helm: Helm = request.getfixturevalue(which)
    values = policy_of(family)
    before = processor_time()
    text = helm.template(values)
    took = processor_time() - before
    rendered = Rendered(text)
    record_property("seconds", round(took, 2))
    print(f"{family}: {took:.1f} s, {len(rendered.ruleset)} bytes of ruleset")
    assert took < SECONDS
    load(rendered.ruleset)


@pytest.mark.parametrize("policy", [long_rule, ten_deep])
def test_what_is_promised_beside_that(
    helm: Helm, load: Load, policy: Callable[[], dict[str, Any]]
) -> None:
    rendered = Rendered(helm.template(policy()))
    size = sum(len(name) + len(text.encode()) for name, text in rendered.files.items())
    print(f"{policy.__name__}: {size} bytes of ConfigMap")
    assert size < 1_048_576
    load(rendered.ruleset)


def test_what_fits_for_nftables_alone_is_carried_for_nftables(helm: Helm) -> None:
    values = policy_of("mixed")
    files = Rendered(helm.template(values)).files
    assert "policy.nft" in files
    assert not files.keys() & {"policy.rules", "iptables.awk"}
    assert "NOT GOVERNED are Linux nodes without nftables" in helm.notes(values)
    values = {**values, "linux": {"backend": "iptables"}}
    assert "policy.rules" in Rendered(helm.template(values)).files
    assert "NOT GOVERNED" not in helm.notes(values)


def test_what_does_not_fit_a_config_map_is_refused(helm: Helm) -> None:
    random = Random(1)
    cidrs = [ipv6(random) for _ in range(300)]
    rules = [rule(f"rule-{index}", ports=[index + 1], from_=cidrs) for index in range(120)]
    with pytest.raises(Refused) as refused:
        helm.template({"rules": rules})
    lines = refusals(refused.value)
    for line, os in zip(lines, ("Linux", "Windows"), strict=True):
        found = re.fullmatch(
            rf"rules: the policy of {os} nodes needs (\d+) bytes and a ConfigMap holds (\d+) "
            r"\(replace single addresses by wider CIDRs, or merge rules that differ in their name "
            r"alone\)",
            line,
        )
        assert found, line
        assert int(found[1]) > 1_048_576 == int(found[2])


def test_what_fits_is_asked_of_each_system(helm: Helm) -> None:
    random = Random(1)
    cidrs = [ipv6(random) for _ in range(300)]
    rules = [
        rule(f"rule-{index}", ports=[index + 1], from_=cidrs, os=["windows"])
        for index in range(120)
    ]
    with pytest.raises(Refused) as refused:
        helm.template({"rules": rules})
    (line,) = refusals(refused.value)
    assert line.startswith("rules: the policy of Windows nodes needs ")
    assert "kind: DaemonSet" in helm.template({"rules": rules, "windows": {"enabled": False}})
