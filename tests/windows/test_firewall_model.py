# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The model of Windows' firewall, on what Microsoft says of it and on the edges of its texts."""

from __future__ import annotations

import random
import time
from typing import Any, Literal

import pytest

from udp_security.windows import reference
from udp_security.windows.firewall import Direction, Firewall, FirewallRule, Profile, Verdict
from udp_security.windows.intervals import address_bounds, inside, number, port_bounds

PC, PEER, FAR = "172.19.1.100", "172.19.1.1", "203.0.113.9"
PC6, PEER6 = "fd00:19::100", "fd00:19::1"


def rule(
    direction: Literal["Inbound", "Outbound"] = "Inbound",
    action: Literal["Allow", "Block"] = "Allow",
    **keys: Any,
) -> FirewallRule:
    """A rule for UDP; one text stands for a tuple of it, as the cmdlets print one value."""
    given: dict[str, Any] = {"name": "r", "protocol": "UDP"}
    for key, value in keys.items():
        listed = key.endswith("s") and isinstance(value, str)
        given[key] = (value,) if listed else value
    return FirewallRule(direction=direction, action=action, **given)


def into(firewall: Firewall, port: int = 53, source: str = PEER, **keys: Any) -> bool:
    """Whether a flow from outside to the computer passes."""
    return firewall.admits("ingress", source, PC, port, **keys).allowed


def out(firewall: Firewall, port: int = 53, destination: str = PEER, **keys: Any) -> bool:
    """Whether a flow of the computer itself passes."""
    return firewall.admits("egress", PC, destination, port, **keys).allowed


def test_without_rules_inbound_is_closed_and_outbound_open() -> None:
    firewall = Firewall([])
    assert not into(firewall)
    assert out(firewall)
    assert firewall.admits("ingress", PEER, PC, 53).reason == (
        "Inbound default of profile Public: Block"
    )


@pytest.mark.parametrize(
    ("settings", "inbound", "outbound"),
    [({}, False, True),
     ({"default_inbound": "Block", "default_outbound": "Block"}, False, False),
     ({"default_inbound": "Allow", "default_outbound": "Allow"}, True, True),
     ({"default_inbound": "NotConfigured", "default_outbound": "NotConfigured"}, False, True)],
)  # fmt: skip
def test_defaults(settings: dict[str, Any], inbound: bool, outbound: bool) -> None:
    firewall = Firewall([], [Profile("Public", **settings)])
    assert (into(firewall), out(firewall)) == (inbound, outbound)


def test_an_explicit_allow_beats_the_default() -> None:
    firewall = Firewall([rule(), rule("Outbound")], [Profile("Public", default_outbound="Block")])
    assert into(firewall)
    assert out(firewall)


@pytest.mark.parametrize("swapped", [False, True])
def test_an_explicit_block_beats_an_allow_whatever_the_order_or_how_specific(
    swapped: bool,
) -> None:
    block = rule("Outbound", "Block", name="all")
    allow = rule("Outbound", remote_ports="53", remote_addresses=PEER, name="one")
    verdict = Firewall([allow, block] if swapped else [block, allow]).admits("egress", PC, PEER, 53)
    assert verdict == Verdict(False, "Block rule all", block)


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_the_published_reference_cuts_dns(direction: Direction) -> None:
    """Two rules that mean "everything but DNS is blocked" and block DNS too."""
    ends = (PC, PEER) if direction == "egress" else (PEER, PC)
    assert not Firewall(reference.RULES).admits(direction, *ends, 53).allowed


def test_a_block_on_all_other_ports_leaves_dns_open() -> None:
    firewall = Firewall([rule("Outbound", "Block", remote_ports=("0-52", "54-65535"))])
    assert [port for port in (0, 52, 53, 54, 65535) if out(firewall, port)] == [53]


@pytest.mark.parametrize("protocol", ["TCP", "ICMPv4", "ICMPv6", "47"])
def test_rules_for_udp_leave_other_protocols_alone(protocol: str) -> None:
    firewall = Firewall([rule(), rule("Outbound", "Block")])
    assert out(firewall, protocol=protocol)
    assert not into(firewall, protocol=protocol)


@pytest.mark.parametrize("protocol", ["UDP", "udp", "17", "Any"])
def test_names_of_protocols(protocol: str) -> None:
    assert into(Firewall([rule(protocol=protocol)]))


def test_the_port_is_the_local_one_inbound_and_the_remote_one_outbound() -> None:
    """A rule for source port 53 is no rule for port 53."""
    assert into(Firewall([rule(local_ports="53")]))
    by_source = Firewall([rule(remote_ports="53")])
    assert not into(by_source)
    assert into(by_source, 500, source_port=53)
    assert not out(Firewall([rule("Outbound", "Block", remote_ports="53")]))
    assert out(Firewall([rule("Outbound", "Block", local_ports="53")]))
    assert not out(Firewall([rule("Outbound", "Block", local_ports="53")]), 9, source_port=53)


def test_local_and_remote_addresses_are_both_needed() -> None:
    firewall = Firewall([rule(local_addresses=PC, remote_addresses="172.19.1.0/255.255.255.0")])
    assert into(firewall)
    assert not into(firewall, source=FAR)
    assert not firewall.admits("ingress", PEER, "172.19.1.101", 53).allowed


def test_a_rule_of_one_family_never_meets_the_other() -> None:
    every4 = Firewall([rule(remote_addresses="0.0.0.0-255.255.255.255")])
    assert into(every4)
    assert not every4.admits("ingress", PEER6, PC6, 53).allowed
    every6 = Firewall([rule(remote_addresses="::2-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")])
    assert every6.admits("ingress", PEER6, PC6, 53).allowed
    assert not into(every6)
    mixed = Firewall([rule(local_addresses=PC, remote_addresses=PEER6)])
    assert not into(mixed)
    assert not mixed.admits("ingress", PEER6, PC6, 53).allowed


def test_loopback_is_not_filtered() -> None:
    closed = Firewall([rule("Inbound", "Block"), rule("Outbound", "Block")])
    assert closed.admits("ingress", "127.0.0.1", "127.9.9.9", 53).allowed
    assert closed.admits("egress", "::1", "::1", 53).allowed
    assert not closed.admits("ingress", "127.0.0.1", PC, 53).allowed
    assert not closed.admits("egress", PC, PC, 53).allowed


def test_a_reply_needs_no_rule() -> None:
    closed_in = Firewall([rule("Inbound", "Block")])
    assert closed_in.admits_reply("egress", PC, PEER, 53).allowed
    closed_out = Firewall([rule("Outbound", "Block"), rule(local_ports="53")])
    assert closed_out.admits_reply("ingress", PEER, PC, 53).allowed
    assert not closed_out.admits_reply("egress", PC, PEER, 53).allowed
    answers_only = Firewall([rule("Outbound", "Block"), rule(remote_ports="53")])
    assert answers_only.admits_reply("egress", PC, PEER, 53).reason == "Allow rule r"


def test_what_switches_the_firewall_off() -> None:
    rules = [rule("Inbound", "Block"), rule("Outbound", "Block")]
    stopped = Firewall(rules, running=False)
    disabled = Firewall(rules, [Profile("Public", enabled=False)])
    another = Firewall(rules, [Profile("Public"), Profile("Domain", enabled=False)])
    assert [out(firewall) for firewall in (stopped, disabled, another)] == [True, True, False]
    assert into(stopped)
    assert into(disabled)


def test_a_rule_is_for_its_profiles_and_for_now() -> None:
    assert into(Firewall([rule(profiles=("Domain", "Public"))]))
    assert not into(Firewall([rule(profiles="Domain")]))
    assert into(Firewall([rule(profiles="Domain")], active="Domain"))
    assert not into(Firewall([rule(enabled=False)]))


def test_group_policy_can_ignore_local_rules() -> None:
    only_policy = [Profile("Public", allow_local_rules=False)]
    assert out(Firewall([rule("Outbound", "Block")], only_policy))
    assert not out(Firewall([rule("Outbound", "Block", store="GroupPolicy")], only_policy))


@pytest.mark.parametrize("key", ["program", "service", "interface"])
def test_a_restricted_rule_is_for_its_own_flows(key: str) -> None:
    own: dict[str, Any] = {key: r"C:\Tools\a.exe"}
    same: dict[str, Any] = {key: r"c:\tools\A.exe"}
    other: dict[str, Any] = {key: r"C:\Tools\b.exe"}
    firewall = Firewall([rule("Outbound", "Block", **own)])
    assert out(firewall)
    assert out(firewall, **other)
    assert not out(firewall, **same)


# The rules that the documentation of New-NetFirewallRule creates in its examples.
def test_the_example_of_a_blocked_source_port() -> None:
    firewall = Firewall([rule("Outbound", "Block", protocol="TCP", local_ports="80")])
    assert not out(firewall, 50000, protocol="TCP", source_port=80)
    assert out(firewall, 80, protocol="TCP")
    assert out(firewall, 50000, source_port=80)


def test_the_example_of_a_program_for_the_local_subnet() -> None:
    program = r"C:\Program Files (x86)\Messenger\msmsgs.exe"
    messenger = [rule(protocol="Any", program=program, remote_addresses="LocalSubnet")]
    firewall = Firewall(messenger, local_subnets=["172.19.1.0/24", "fd00:19::/64"])
    assert into(firewall, program=program)
    assert firewall.admits("ingress", PEER6, PC6, 53, program=program).allowed
    assert not into(firewall)
    assert not into(firewall, source=FAR, program=program)
    assert not into(Firewall(messenger), program=program)


def test_the_example_of_ports_in_a_list() -> None:
    firewall = Firewall([rule(protocol="TCP", local_ports=("12345", "5000-5020"))])
    passed = [port for port in (4999, 5000, 5020, 5021, 12344, 12345)
              if into(firewall, port, protocol="TCP")]  # fmt: skip
    assert passed == [5000, 5020, 12345]


@pytest.mark.parametrize(
    ("text", "within", "without"),
    [("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0", "a00::"]),
     ("10.0.0.0/255.0.0.0", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
     ("10.0.0.7/255.255.255.255", ["10.0.0.7"], ["10.0.0.6", "10.0.0.8"]),
     ("10.0.0.5-10.0.0.9", ["10.0.0.5", "10.0.0.9"], ["10.0.0.4", "10.0.0.10"]),
     ("255.255.255.255", ["255.255.255.255"], ["255.255.255.254", "::"]),
     ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "::ffff:10.0.0.1"]),
     ("fe80::/10", ["fe80::", "febf:ffff::1"], ["fe7f::", "fec0::"]),
     ("fd00::1", ["fd00::1"], ["fd00::", "fd00::2"]),
     ("fd00::5-fd00::9", ["fd00::5", "fd00::9"], ["fd00::4", "fd00::a"]),
     ("LocalSubnet", ["10.1.0.9", "fd00::9"], ["10.2.0.0"]),
     ("localsubnet4", ["10.1.0.9"], ["fd00::9"]),
     ("LocalSubnet6", ["fd00::9"], ["10.1.0.9"]),
     ("DefaultGateway", [], ["10.1.0.1"]),
     ("DNS4", [], ["10.1.0.1"])],
)  # fmt: skip
def test_edges_of_addresses(text: str, within: list[str], without: list[str]) -> None:
    bounds = address_bounds([text], ["10.1.0.0/16", "fd00::/64"])
    assert bounds is not None
    assert [address for address in within + without if inside(bounds, number(address))] == within


def test_intervals_that_meet_or_overlap_are_one() -> None:
    assert address_bounds(["0.0.0.9", "0.0.0.3-0.0.0.5", "0.0.0.6", "0.0.0.4"]) == [3, 7, 9, 10]
    assert address_bounds(["0.0.0.9", "Any"]) is None
    assert port_bounds(["54-65535", "0-52", "RPC"]) == [0, 53, 54, 65536]
    assert port_bounds(["RPCEPMap"]) == []
    assert port_bounds(["53", "any"]) is None


@pytest.mark.parametrize(
    "text",
    ["host.example", "10.0.0", "10.0.0.0/33", "10.0.0.0/255.0.255.0", "10.0.0.9-10.0.0.5",
     "10.0.0.1-fd00::1", "fd00::/ffff::", "", "10.0.0.1 - 10.0.0.2"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"no address|no subnet|mask|before|family"):
        Firewall([rule(remote_addresses=text)])


@pytest.mark.parametrize("text", ["http", "9-5", "-5", "5-", "", "53,54"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(ValueError, match=r"no port|before"):
        Firewall([rule(local_ports=text)])


def test_an_unknown_profile() -> None:
    with pytest.raises(ValueError, match="no profile 'Home' among Domain, Private, Public"):
        Firewall([], active="Home")


def test_it_is_fast_with_many_rules_and_addresses() -> None:
    """A thousand rules on one port, 500 ranges each, none of which holds what is asked."""
    draw = random.Random(1)
    rules = [
        rule("Outbound", "Block", name=str(n), remote_ports="53", remote_addresses=tuple(
            f"10.{n % 256}.{i // 2}.{i % 2 * 128}/255.255.255.192" for i in range(500)
        ))
        for n in range(1000)
    ]  # fmt: skip
    began = time.process_time()
    firewall = Firewall(rules)
    for _ in range(10_000):
        assert out(firewall, destination=f"11.0.{draw.randrange(256)}.{draw.randrange(256)}")
    assert time.process_time() - began < 15
