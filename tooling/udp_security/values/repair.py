# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Values that the schema refuses, made fit for the semantic checks.

A stand-in that is no mistake by itself takes the place of whatever has the wrong form, so that all
else keeps its place and is still checked. What a check would say about a stand-in, or because of
one, is not to be passed on.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from udp_security.values.problem import Path

_MASK = ("linux", "verdictCache", "mask")
_GOOD_MASK = 0xFF000000
_LISTS = ("podCIDRs", "serviceCIDRs", "nodeCIDRs", "dnsServers")
# What a check of the policy as a whole reads.
_WHOLE: tuple[Path, ...] = (
    ("presets",),
    ("cluster",),
    ("dangerouslyCutOff",),
    ("rules",),
    ("linux", "enabled"),
    ("windows", "enabled"),
)


@dataclass(frozen=True)
class Repaired:
    """`values` can be checked; `whole`: also as a whole, since nothing that this needs was changed.

    A problem at one of the paths in `unsure` may be the stand-in's.
    """

    values: Mapping[str, Any]
    whole: bool
    unsure: Collection[Path]


def repair(values: Mapping[str, Any], bad: Collection[Path]) -> Repaired:
    """Mends merged values in which the schema refuses what is at the paths `bad`."""
    bad = frozenset(bad)
    unsure = set(bad)
    rules = values.get("rules")
    fixed = list(rules) if isinstance(rules, list) else []
    bad_rules: dict[int, set[Path]] = defaultdict(set)
    for path in bad:
        if path[:1] == ("rules",) and len(path) > 1:
            bad_rules[int(path[1])].add(path[2:])
    for index, inside in bad_rules.items():
        fixed[index], doubtful = _rule(fixed[index], inside, f"rules[{index}]")
        unsure |= {("rules", index, *path) for path in doubtful}
    cluster, linux = _map(values.get("cluster")), _map(values.get("linux"))
    enabled, replies = linux.get("enabled"), "untrackedReplyAddresses"
    mask = _map(linux.get("verdictCache")).get("mask", _GOOD_MASK)
    repaired = {
        **values,
        "rules": fixed,
        # What cannot be read is left out rather than taken from the chart's defaults: rules would
        # be blamed for lying in networks that the user has replaced.
        "cluster": {key: _items(cluster.get(key), bad, ("cluster", key)) for key in _LISTS},
        "linux": {
            "enabled": enabled if isinstance(enabled, bool) else True,
            replies: _items(linux.get(replies), bad, ("linux", replies)),
            "verdictCache": {"mask": _GOOD_MASK if _MASK in bad else mask},
        },
    }
    whole = not any(path[: len(part)] == part[: len(path)] for path in bad for part in _WHOLE)
    return Repaired(repaired, whole, unsure)


def _rule(given: Any, bad: Collection[Path], place: str) -> tuple[dict[str, Any], set[Path]]:
    """A rule that can be checked, and the paths in it at which a problem may be a stand-in's."""
    rule = {key: value for key, value in _map(given).items() if (key,) not in bad}
    unsure: set[Path] = set()
    for key in ("ports", "from", "to"):
        if key in rule:
            rule[key] = _items(rule[key], bad, (key,))
            if not rule[key]:
                del rule[key]
    if any(path[:1] in (("from",), ("to",)) for path in bad):
        # Both may have an address family in common after all.
        unsure.add(("to",))
    if any(path[:1] == ("os",) for path in bad):
        systems = given["os"]
        rule["os"] = ["linux"] if isinstance(systems, list) and "linux" in systems else ["windows"]
        # It may be meant for Linux too, where forwarding happens.
        unsure.add(("direction",))
    return {"name": place, "direction": "ingress", "ports": [1], **rule}, unsure


def _items(given: Any, bad: Collection[Path], path: Path) -> list[Any]:
    """A list with a good item of it in the place of each bad one; empty when there is none."""
    if not isinstance(given, list):
        return []
    bad_here = {index for index in range(len(given)) if (*path, index) in bad}
    good = [item for index, item in enumerate(given) if index not in bad_here]
    if not good:
        return []
    return [good[0] if index in bad_here else item for index, item in enumerate(given)]


def _map(given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}
