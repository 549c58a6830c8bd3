# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A policy read back from the files that the chart makes for the agents.

What they no longer tell is not here either: descriptions, and for which other operating system a
rule was meant. All that decides about a flow is, and rules have their names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from udp_security.policy.facts import DENY_ACTIONS, MODES, SCOPES, Facts, one_of
from udp_security.policy.model import (
    DIRECTIONS,
    Cluster,
    Network,
    OperatingSystem,
    Policy,
    Rule,
    network,
    networks,
    port_range,
)

_LINUX: Final = frozenset[OperatingSystem]({"linux"})
_WINDOWS: Final = frozenset[OperatingSystem]({"windows"})
_ANY: Final = {"4": network("0.0.0.0/0"), "6": network("::/0")}
# Characters of what somebody wrote, where it is shown.
_SHOWN: Final = 120
# What is missing or of another kind in a file that the chart did not make.
_STRANGE: Final = (KeyError, IndexError, TypeError, ValueError, AttributeError)

_COUNTER: Final = re.compile(r"r\.[\w.-]+", re.ASCII)
_RULE: Final = re.compile(r"[\w:-]+", re.ASCII)
_SET: Final = re.compile(r"^\tset (g0\.\S+) \{ type ipv[46]_addr;[^{\n]*\{([^}]*)", re.MULTILINE)
_DIRECTION: Final = re.compile(r"^\tchain g0\.(ingress|egress|forward) \{$", re.MULTILINE)
_CHAIN: Final = re.compile(
    r"^\t# \S+: ([\d -]+)\n(?:\tset [^}]*\} \}\n)*\tchain g0\.(r\.\S+) \{\n([^}]*)\}", re.MULTILINE
)
_ENDS: Final = re.compile(
    r"^\t\t(?:ct original (?P<from>ip6?) saddr (\S+) )?(?:ct reply (?P<to>ip6?) saddr (\S+) )?"
    r"(?:meta nfproto ipv(?P<all>[46]) )?counter name",
    re.MULTILINE,
)


def linux_policy(rules: str, facts: str) -> Policy:
    """The policy of ``policy.rules`` and ``policy.facts``. ValueError: not what the chart makes."""
    try:
        lines = [line.split() for line in rules.splitlines() if line.strip()]
        given = {words[0]: words[1] for words in lines if len(words) == 2}
        cluster = _listed("4", given["cluster4"]) + _listed("6", given["cluster6"])
        found = tuple(_rule(*words) for words in lines if len(words) != 2)
        return _linux(Facts.read(facts), cluster, found)
    except _STRANGE as error:
        raise _unknown("policy.rules", error) from error


def nftables_policy(ruleset: str, facts: str) -> Policy:
    """The same from ``policy.nft``, all that there is with backend nftables or a large policy.

    It does not have the services' addresses with scope ``host``, nor what a rule says about an
    address family that only one of its ends has.
    """
    try:
        sets = {
            name: networks(text.replace(",", "").split()) for name, text in _SET.findall(ruleset)
        }
        cluster = sets.get("g0.cluster4", ()) + sets.get("g0.cluster6", ())
        # What precedes a direction's chain is that direction's rules.
        parts = _DIRECTION.split(ruleset)
        pairs = list(zip(parts[1::2], parts[::2], strict=False))
        if tuple(direction for direction, _ in pairs) != DIRECTIONS:
            raise ValueError("its chains are others")
        found = tuple(rule for direction, part in pairs for rule in _chains(direction, part, sets))
        return _linux(Facts.read(facts), cluster, found)
    except _STRANGE as error:
        raise _unknown("policy.nft", error) from error


def windows_policy(text: str) -> Policy:
    """The policy of ``policy.json``. ValueError: not what the chart makes."""
    try:
        given = json.loads(text)
        nodes = networks(given["nodeCIDRs"])
        return Policy(
            one_of(given["mode"], MODES),
            one_of(given["denyAction"], DENY_ACTIONS),
            one_of(given["scope"], SCOPES),
            _cluster(networks(given["clusterCIDRs"]), (), nodes),
            tuple(_windows_rule(rule) for rule in given["rules"]),
        )
    except _STRANGE as error:
        raise _unknown("policy.json", error) from error


def _unknown(file: str, error: Exception) -> ValueError:
    return ValueError(
        f"this {file} is not what the chart makes: {_words(error)} "
        "(an agent of another version? use its version of this program)"
    )


def _words(error: Exception) -> str:
    """What the file has to do with it may be anything, also what a terminal would obey."""
    text = f"{type(error).__name__}: {error}"
    return "".join(each if each.isprintable() else "?" for each in text[:_SHOWN])


def _linux(facts: Facts, cluster: tuple[Network, ...], rules: tuple[Rule, ...]) -> Policy:
    own = _cluster(cluster, facts.pods, facts.nodes)
    return Policy(facts.mode, facts.deny_action, facts.scope, own, rules)


def _cluster(
    every: tuple[Network, ...], pods: tuple[Network, ...], nodes: tuple[Network, ...]
) -> Cluster:
    """What is neither is taken for the services', for Windows' file tells only the nodes'."""
    known = {*pods, *nodes}
    return Cluster(pods, tuple(net for net in every if net not in known), nodes)


def _name(counter: str) -> str:
    """The rule that a counter stands for; only presets' rules have dots in their names."""
    if not _COUNTER.fullmatch(counter):
        raise ValueError(f"{counter!a} is no counter")
    name = counter.removeprefix("r.")
    return name.replace(".", ":") if name.startswith("preset.") else name


def _rule(
    direction: str, counter: str, ports: str, from4: str, from6: str, to4: str, to6: str
) -> Rule:
    return Rule(
        name=_name(counter),
        direction=one_of(direction, DIRECTIONS),
        ports=tuple(port_range(port) for port in ports.split(",")),
        sources=None if from4 == from6 == "any" else _listed("4", from4) + _listed("6", from6),
        destinations=None if to4 == to6 == "any" else _listed("4", to4) + _listed("6", to6),
        os=_LINUX,
    )


def _listed(family: str, text: str) -> tuple[Network, ...]:
    """One column of policy.rules."""
    if text == "any":
        return (_ANY[family],)
    return () if text == "none" else networks(text.split(","))


def _chains(direction: str, part: str, sets: Mapping[str, tuple[Network, ...]]) -> Iterator[Rule]:
    """The rules of a direction. One that has no chain's line allows nothing and is left out."""

    def named(end: str | None) -> str:
        if end is None:
            return "any"
        nets = sets[end[1:]] if end.startswith("@") else networks([end])
        return ",".join(map(str, nets)) or "none"

    for ports, counter, body in _CHAIN.findall(part):
        columns = {"from4": "none", "from6": "none", "to4": "none", "to6": "none"}
        for line in _ENDS.finditer(body):
            ip = line["from"] or line["to"]
            families = (
                [line["all"]] if line["all"] else [{"ip": "4", "ip6": "6"}[ip]] if ip else "46"
            )
            for family in families:
                columns[f"from{family}"] = named(line[2])
                columns[f"to{family}"] = named(line[4])
        if set(columns.values()) != {"none"}:
            yield _rule(direction, counter, ports.replace(" ", ","), **columns)


def _windows_rule(given: Mapping[str, Any]) -> Rule:
    if not _RULE.fullmatch(given["name"]):
        raise ValueError(f"{given['name']!a} is no rule's name")
    return Rule(
        name=given["name"],
        direction=one_of(given["direction"], DIRECTIONS),
        ports=tuple(port_range(port) for port in given["ports"]),
        sources=None if given["from"] is None else networks(given["from"]),
        destinations=None if given["to"] is None else networks(given["to"]),
        os=_WINDOWS,
    )
