# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The iptables compiler: what it prints, walked as a kernel would walk it, means what the oracle
says. No kernel takes part, so policies can be many and as large as the limits admit."""

from __future__ import annotations

import itertools
import random
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies
from tests.lab.iptables import deep

from udp_security.chart import chart_dir
from udp_security.lab import tools
from udp_security.policy import Flow, Policy, decide
from udp_security.policy.model import (
    DIRECTIONS,
    Address,
    Direction,
    Network,
    canonical,
    network,
)

COMPILER: Final = chart_dir() / "files" / "linux" / "iptables.awk"
MOST: Final = 30_000
LONGEST_NAME: Final = 28  # of a chain: XT_EXTENSION_MAXNAMELEN - 1
DEEPEST: Final = 16  # chains in a row, the built-in one among them: NFT_JUMP_STACK_SIZE
FLOWS: Final = 150

Mode = Literal["tracked", "untracked", "invalid"]


def awks() -> Iterator[list[str]]:
    """The awks here; busybox's is the image's."""
    yield [tools.find("busybox"), "awk"]
    for name in ("mawk", "gawk", "original-awk"):
        if found := shutil.which(name):
            yield [found]


def policy_text(values: Mapping[str, Any]) -> str:
    """policy.rules as the chart's templates render it."""
    full = strategies.merged(values)
    policy = Policy.from_values(full)
    replies = [network(text) for text in full["linux"]["untrackedReplyAddresses"]]
    lines = [f"mode {policy.mode}", f"denyAction {policy.deny_action}", f"scope {policy.scope}"]
    lines.append(f"logDenials {'yes' if full['linux']['logDenials'] else 'no'}")
    for version in (4, 6):
        lines.append(f"cluster{version} {_listed(policy.cluster.networks, version)}")
        lines.append(f"untrackedReply{version} {_listed(replies, version)}")
    for rule in sorted(policy.rules, key=lambda rule: DIRECTIONS.index(rule.direction)):
        ports = ",".join(f"{low}-{high}" for low, high in rule.ports)
        ends = [
            _end(end, version) for end in (rule.sources, rule.destinations) for version in (4, 6)
        ]
        lines.append(" ".join([rule.direction, f"r.{rule.name.replace(':', '.')}", ports, *ends]))
    return "\n".join(lines) + "\n"


def _end(end: Sequence[Network] | None, version: int) -> str:
    if end is None or any(one.version == version and one.prefixlen == 0 for one in end):
        return "any"
    return _listed(end, version)


def _listed(networks: Sequence[Network], version: int) -> str:
    texts = [canonical(one) for one in networks if one.version == version]
    return ",".join(dict.fromkeys(texts)) or "none"


def compile_text(
    text: str, version: int, awk: Sequence[str] | None = None, most: int = MOST
) -> subprocess.CompletedProcess[str]:
    """What the compiler makes of policy.rules."""
    options = [f"family={version}", "generation=12345", f"most={most}"]
    return subprocess.run(
        [*(awk or next(awks())), *itertools.chain(*(("-v", option) for option in options)),
         "-f", str(COMPILER)],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Packet:
    """A UDP packet in a hook. ``flow`` is conntrack's, or the header's where that sees nothing."""

    mode: Mode
    flow: Flow
    source_port: int = 40_000
    reply: bool = False
    device: str = "eth0"

    @property
    def hook(self) -> str:
        """The built-in chain that it passes."""
        ways: dict[Direction, str] = {"ingress": "INPUT", "egress": "OUTPUT", "forward": "FORWARD"}
        hook = ways[self.flow.direction]
        back = {"INPUT": "OUTPUT", "OUTPUT": "INPUT", "FORWARD": "FORWARD"}
        return back[hook] if self.reply else hook


@dataclass
class Firewall:
    """A filter table with the rules of one restore text."""

    rules: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Firewall:
        """Reads the text as iptables-restore would into an empty table."""
        table = cls({"INPUT": [], "OUTPUT": [], "FORWARD": []})
        lines = text.splitlines()
        assert (lines[0], lines[-1]) == ("*filter", "COMMIT")
        for line in lines[1:-1]:
            if line.startswith(":"):
                name = line[1:].removesuffix(" - [0:0]")
                assert name not in table.rules
                assert re.fullmatch(rf"UDPSEC-[\w.-]{{1,{LONGEST_NAME - 7}}}", name)
                table.rules[name] = []
                continue
            assert not re.search(r"[ .:]0*/0( |$)", line), "a condition that always holds"
            command, chain, rule = line.split(" ", 2)
            if command == "-I":
                place, rule = rule.split(" ", 1)
                table.rules[chain].insert(int(place) - 1, rule)
            else:
                assert command == "-A"
                table.rules[chain].append(rule)
        return table

    def judge(self, packet: Packet) -> tuple[str, list[str]]:
        """What becomes of a packet ("passes" or the last target), and the counters that moved."""
        counted: list[str] = []
        back: list[tuple[str, int]] = []
        chain, position = packet.hook, 0
        while True:
            if position == len(self.rules[chain]):
                if not back:
                    return "passes", counted
                chain, position = back.pop()
                continue
            rule = self.rules[chain][position]
            position += 1
            kind, target, comment = _match(rule, packet)
            if kind is None:
                continue
            if comment:
                counted.append(comment)
            if kind == "goto" or target in self.rules:
                if kind == "jump":
                    back.append((chain, position))
                chain, position = target, 0
            elif target == "RETURN":
                position = len(self.rules[chain])
            else:
                return target, counted

    def depth(self, chain: str = "INPUT", seen: tuple[str, ...] = ()) -> int:
        """The longest row of chains from this one on."""
        return self._depth(chain, seen, {})

    def _depth(self, chain: str, seen: tuple[str, ...], known: dict[str, int]) -> int:
        assert chain not in seen, "a loop"
        if chain not in known:
            targets = {rule.split()[-1] for rule in self.rules[chain]} & self.rules.keys()
            depths = (self._depth(target, (*seen, chain), known) for target in sorted(targets))
            known[chain] = 1 + max(depths, default=0)
        return known[chain]


@cache
def _parsed(rule: str) -> tuple[dict[str, str], str, str]:
    words = rule.split()
    kind = {"-j": "jump", "-g": "goto"}[words[-2] if not words[-2].startswith("--") else words[-4]]
    if words[-2] == "--reject-with":
        del words[-2:]
    target = words[-1]
    options: dict[str, str] = {}
    for option, value in zip(words[:-2:2], words[1:-2:2], strict=True):
        if option != "-m":
            options[option] = value
    return options, kind, target


@cache
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text)


def _match(rule: str, packet: Packet) -> tuple[str | None, str, str]:
    options, kind, target = _parsed(rule)
    flow = packet.flow
    conntrack = {"--ctorigsrc": flow.source, "--ctreplsrc": flow.destination}
    header = {"-s": flow.source, "-d": flow.destination}
    ports = {"--dport": flow.port, "--sport": packet.source_port, "--ctreplsrcport": flow.port}
    for option, value in options.items():
        if option == "--ctstate":
            holds = value == packet.mode.upper()
        elif option.startswith("--ct") and packet.mode != "tracked":
            holds = False
        elif option == "--ctdir":
            holds = packet.reply
        elif option in conntrack:
            holds = conntrack[option] in _network(value)
        elif option in header:
            assert packet.mode != "tracked", "only conntrack knows the flow"
            holds = header[option] in _network(value)
        elif option in ports:
            assert option == "--ctreplsrcport" or packet.mode != "tracked"
            low, _, high = value.partition(":")
            holds = int(low) <= ports[option] <= int(high or low)
        elif option in ("-i", "-o"):
            assert packet.hook == {"-i": "INPUT", "-o": "OUTPUT"}[option]
            holds = packet.device == value
        else:
            holds = True
            assert (option, value) in (("-p", "udp"), ("--dst-type", "LOCAL")) or (
                option == "--comment"
            )
        if not holds:
            return None, "", ""
    return kind, target, options.get("--comment", "")


def wanted(
    policy: Policy, replies: frozenset[Address], packet: Packet
) -> tuple[bool, frozenset[str]]:
    """Whether the oracle lets a packet pass, and the counters of which one has to move."""
    flow = packet.flow
    denied = policy.mode == "audit", frozenset({f"denied.{flow.direction}"})
    decision = decide(policy, flow)
    if not decision.judged:
        return True, frozenset()
    rules = list(decision.rules)
    if packet.mode == "untracked" and flow.direction == "egress" and flow.source in replies:
        mirrored = Flow("ingress", flow.destination, flow.source, packet.source_port)
        rules += decide(policy, mirrored).rules
    if not rules:
        return denied
    return True, frozenset(f"r.{rule.name.replace(':', '.')}" for rule in rules)


def assert_agree(
    values: Mapping[str, Any], flows: Sequence[Flow], tables: Mapping[int, Firewall]
) -> None:
    """Each flow, tracked both ways and untracked, ends as the oracle says."""
    full = strategies.merged(values)
    policy = Policy.from_values(full)
    replies = frozenset(map(ip_address, full["linux"]["untrackedReplyAddresses"]))
    end = "REJECT" if policy.deny_action == "reject" else "DROP"
    numbers = random.Random(len(flows))
    ports = sorted({low for rule in policy.rules for low, _ in rule.ports} | {40_000})
    for flow in flows:
        table = tables[flow.source.version]
        packets = [
            Packet("tracked", flow),
            Packet("tracked", flow, reply=True),
            Packet("untracked", flow, source_port=numbers.choice(ports)),
        ]
        for packet in packets:
            passes, counters = wanted(policy, replies, packet)
            fate, moved = table.judge(packet)
            assert fate == ("passes" if passes else end), (packet, moved, counters)
            if counters:
                assert len(moved) == 1 and moved[0] in counters, (packet, moved, counters)
            else:
                assert moved == [], packet


@strategies.examples(60)
@given(values=strategies.values(), seed=st.integers(0, 2**32 - 1))
def test_it_means_what_the_oracle_says(values: dict[str, Any], seed: int) -> None:
    text = policy_text(values)
    tables = {}
    for version in strategies.FAMILIES:
        done = [compile_text(text, version, awk) for awk in awks()]
        assert {(one.returncode, one.stderr) for one in done} == {(0, "")}
        assert len({one.stdout for one in done}) == 1, "awks differ"
        tables[version] = Firewall.of(done[0].stdout)
    flows = [
        flow
        for flow in itertools.islice(strategies.flows(values, random.Random(seed)), FLOWS)
        if flow.source.version == flow.destination.version
        and not (flow.source.is_loopback and flow.destination.is_loopback)
    ]
    assert_agree(values, flows, tables)


RULES: Final = {"rules": [{"name": "a", "direction": "ingress", "ports": ["1-65535"]}]}


def test_loopback_passes_and_what_conntrack_refuses_does_not() -> None:
    table = Firewall.of(compile_text(policy_text(RULES), 4).stdout)
    flow = Flow("ingress", ip_address("192.0.2.1"), ip_address("192.0.2.2"), 5)
    assert table.judge(Packet("tracked", flow)) == ("passes", ["r.a"])
    assert table.judge(Packet("invalid", flow)) == ("DROP", ["denied.ingress"])
    assert table.judge(Packet("invalid", flow, device="lo")) == ("passes", [])
    # Somebody else's reply to the node is egress, which nothing allows here.
    back = Flow("egress", ip_address("192.0.2.1"), ip_address("192.0.2.2"), 5)
    assert table.judge(Packet("tracked", back, reply=True)) == ("DROP", ["denied.egress"])
    assert table.judge(Packet("tracked", back, device="lo")) == ("passes", [])


@pytest.mark.parametrize(
    ("cluster", "fate"), [("fd00::/8", "DROP"), (None, "passes")], ids=["some", "none"]
)
def test_invalid_packets_under_scope_cluster(cluster: str | None, fate: str) -> None:
    """They have no ends; but a family without addresses in the cluster is out of scope."""
    pods = ["172.20.0.0/16", *([cluster] if cluster else [])]
    values = {"linux": {"scope": "cluster"}, "cluster": {"podCIDRs": pods}}
    table = Firewall.of(compile_text(policy_text(values), 6).stdout)
    flow = Flow("forward", ip_address("fd00::1"), ip_address("fd00::2"), 5)
    assert table.judge(Packet("invalid", flow))[0] == fate


def large(networks: int, rules: int, width: int) -> dict[str, Any]:
    """Rules that overlap ``width`` deep, each with so many random networks at both ends."""
    numbers = random.Random(7)
    cidrs = [
        str(IPv4Network((numbers.getrandbits(size) << (32 - size), size)))
        for size in (numbers.choice((12, 16, 20, 24, 24, 24, 32)) for _ in range(networks))
    ]
    return {
        "linux": {"untrackedReplyAddresses": ["192.0.2.53"]},
        "rules": [
            {
                "name": f"ward-{n}-{'x' * 40}",
                "direction": ("ingress", "egress")[n % 2],
                "ports": [f"{20_000 + n * 10}-{20_000 + (n + width) * 10 - 1}"],
                "from": cidrs,
                "to": cidrs[: networks // 10 or 1],
            }
            for n in range(rules)
        ],
    }


@pytest.mark.parametrize(("networks", "rules", "width"), [(6000, 1, 1), (1, 600, 2), (60, 20, 3)])
def test_large_policies(networks: int, rules: int, width: int) -> None:
    """What is looked up among many takes few steps, in few chains."""
    values = large(networks, rules, width)
    done = compile_text(policy_text(values), 4)
    assert (done.returncode, done.stderr) == (0, "")
    table = Firewall.of(done.stdout)
    assert max(map(table.depth, ("INPUT", "OUTPUT", "FORWARD"))) <= DEEPEST
    assert max(map(len, table.rules.values())) <= 64
    flows = itertools.islice(strategies.flows(values, random.Random(1)), 2000)
    v4 = [flow for flow in flows if flow.source.version == flow.destination.version == 4]
    assert len(v4) > 200
    assert_agree(values, v4, {4: table})


@pytest.mark.parametrize(
    ("ports", "networks", "directions"),
    [(300, 300, ["ingress"]), (100, 200, ["ingress", "egress"])],
    ids=["one", "both"],
)
def test_no_policy_is_too_deep(ports: int, networks: int, directions: list[str]) -> None:
    """Where much has to be looked up in a row, lists are longer instead."""
    values = deep(ports, networks, *directions)
    table = Firewall.of(compile_text(policy_text(values), 6).stdout)
    assert max(map(table.depth, ("INPUT", "OUTPUT", "FORWARD"))) <= DEEPEST
    flows = itertools.islice(strategies.flows(values, random.Random(1)), 1000)
    v6 = [flow for flow in flows if flow.source.version == flow.destination.version == 6]
    assert len(v6) > 100
    assert_agree(values, v6, {6: table})


def test_networks_within_networks_of_other_rules() -> None:
    """The rules of every network around a source apply to it, however the lists are cut up."""
    numbers = random.Random(3)
    outer = [f"10.{n}.0.0/16" for n in range(40)]
    inner = [f"10.{n}.{numbers.randrange(256)}.0/24" for n in range(40) for _ in range(9)]
    host = [text.replace(".0/24", f".{numbers.randrange(256)}") for text in inner[::2]]
    values = {
        "rules": [
            {"name": name, "direction": "ingress", "ports": [514], "from": sources, "to": [to]}
            for name, sources, to in (
                ("outer", outer, "192.0.2.1"),
                ("inner", inner, "192.0.2.2"),
                ("host", host, "192.0.2.3"),
            )
        ]
    }
    table = Firewall.of(compile_text(policy_text(values), 4).stdout)
    assert table.depth() <= DEEPEST
    flows = [
        Flow("ingress", source, ip_address(f"192.0.2.{to}"), 514)
        for one in map(ip_network, [*outer, *inner, *host])
        for source in {one[0], one[-1]}
        for to in (1, 2, 3, 4)
    ]
    assert_agree(values, flows, {4: table})


def test_too_large_a_policy_is_refused() -> None:
    done = compile_text(policy_text(large(50, 20, 3)), 4, most=1000)
    assert done.returncode == 1
    assert done.stderr == (
        "this policy needs more than 1000 rules of IPv4 in iptables, and loading them would take"
        " too long (name fewer addresses or fewer overlapping ports, or use a kernel with"
        " nftables)\n"
    )


def test_denials_are_logged_on_demand() -> None:
    text = policy_text({**RULES, "linux": {"logDenials": True}})
    log = '-m limit --limit 10/second --limit-burst 20 -j LOG --log-prefix "udp-security denied'
    lines = [line for line in compile_text(text, 4).stdout.splitlines() if log in line]
    assert [line.split()[1] for line in lines] == [
        f"UDPSEC-12345-denied.{direction}" for direction in DIRECTIONS
    ]
    assert " -j LOG " not in compile_text(policy_text(RULES), 4).stdout


def test_long_names_stay_apart() -> None:
    names = [f"{'x' * 40}-{n}" for n in range(300)]
    values = {"rules": [{"name": name, "direction": "egress", "ports": [1]} for name in names]}
    table = Firewall.of(compile_text(policy_text(values), 6).stdout)
    counting = [rules for name, rules in table.rules.items() if "_" in name]
    assert sorted(rule for rules in counting for rule in rules if "r.xx" in rule) == sorted(
        f"-m comment --comment r.{name} -j RETURN" for name in names
    )
