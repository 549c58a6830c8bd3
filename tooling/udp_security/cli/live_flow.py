# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What a node knows of one flow, for people and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from udp_security.policy import Decision, Flow
from udp_security.policy.denied import time_text

if TYPE_CHECKING:
    from udp_security.cluster.conntrack import Entry
    from udp_security.cluster.flow import LiveFlow
    from udp_security.cluster.told import Traffic


def headlines(live: LiveFlow) -> Iterator[str]:
    """What has to be known of the node before all else: nothing, if its policy is in force."""
    if not live.in_force:
        known = "" if live.own else "KNOWN TO BE "
        yield f"NOT {known}IN FORCE on {live.node}: {live.reason}"
    elif live.told and live.told.generation != live.latest:
        yield (
            f"OLDER POLICY in force on {live.node}: {live.told.generation} "
            f"(the cluster is told to run {live.latest})"
        )
    if live.policy and not live.own:
        yield "What follows is the policy that the cluster is told to run, not the node's own."


def lines(live: LiveFlow, flow: Flow, most: int) -> Iterator[str]:
    """What the node has counted and remembers, for people; nothing of it where it is not asked."""
    told = live.told
    if told is None:
        return
    if live.in_force:
        since = time_text(told.applied) if told.applied else "(not known)"
        yield f"In force since {since}: policy {told.generation}, {told.mode}, {told.backend}"
    yield f"Denied {flow.direction}, all flows: {_traffic(live, told.denied.get(flow.direction))}"
    yield f"Denied of this flow: {_denied(live)}"
    yield from _conntrack(live, flow, most)


def notes(live: LiveFlow) -> list[str]:
    """What the policy cannot reach on this node, as its agent says it."""
    return [f"not governed there: {each}" for each in (live.told.not_governed if live.told else ())]


def asides(live: LiveFlow, decision: Decision) -> list[str]:
    """What each rule that allows the flow has counted, of all its flows."""
    if live.os == "windows":
        return ["counter not available on Windows"] * len(decision.rules)
    if live.told is None:
        return ["counter not known"] * len(decision.rules)
    counted = live.told.rules
    unit = "flow" if live.told.trusted else "packet"
    return [
        _plural(counted[rule.name].packets, unit) if rule.name in counted else "no counter in force"
        for rule in decision.rules
    ]


def as_json(live: LiveFlow, flow: Flow, decision: Decision | None, most: int) -> dict[str, Any]:
    """`live` in the object of `explain -o json`. `most` entries are told."""
    told, denied = live.told, live.denied
    counts = told is not None and live.os == "linux"
    counted = told.rules if told else {}
    all_denied = told.denied.get(flow.direction) if told else None
    return {
        "node": live.node,
        "inForce": live.in_force,
        "reason": live.reason or None,
        "ownPolicy": live.own,
        "generation": told.generation if told else None,
        "latestGeneration": live.latest or None,
        "backend": told.backend if told else None,
        "appliedAt": time_text(told.applied) if told and told.applied else None,
        "cacheTrusted": told.trusted if told else None,
        "counted": ("flows" if told and told.trusted else "packets") if counts else None,
        "counters": [
            {
                "rule": rule.name,
                "count": counted[rule.name].packets if rule.name in counted else None,
            }
            for rule in (decision.rules if decision else ())
        ],
        "denied": all_denied and {"packets": all_denied.packets, "bytes": all_denied.bytes},
        "deniedFlow": {
            "packets": denied.packets if denied else 0,
            "bytes": denied.bytes if denied else 0,
            "ago": denied.ago if denied else None,
        }
        if live.denied_known
        else None,
        "conntrack": None
        if live.entries is None
        else {
            "more": len(live.entries) > most,
            "cacheKnown": live.number is not None,
            "entries": [
                {
                    "state": entry.state,
                    "timeout": entry.timeout,
                    "mark": entry.mark,
                    "cachedAs": entry.cached_as,
                }
                for entry in live.entries[:most]
            ],
        },
    }


def _plural(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _traffic(live: LiveFlow, counted: Traffic | None) -> str:
    if counted is not None:
        return _plural(counted.packets, "packet")
    return "not available on Windows" if live.os == "windows" else "no counter in force"


def _denied(live: LiveFlow) -> str:
    if live.os == "windows":
        return "not available on Windows"
    if live.denied is not None:
        ago = "" if live.denied.ago is None else f", the last {live.denied.ago} s ago"
        return f"{_plural(live.denied.packets, 'packet')}{ago}"
    if live.denied_known:
        return "none in the last hour"
    if live.told and live.told.backend == "iptables":
        return "not available with the backend iptables"
    return "not among the flows denied most, which is all that this agent tells"


def _conntrack(live: LiveFlow, flow: Flow, most: int) -> Iterator[str]:
    if live.os == "windows":
        yield "Conntrack: not available on Windows"
    elif live.entries is None:
        yield "Conntrack: not known on this node: its kernel does not show conntrack's entries"
    elif not live.entries:
        yield "Conntrack: no entry of this flow"
    else:
        yield "Conntrack's entries of this flow:"
        for entry in live.entries[:most]:
            left = "" if entry.timeout is None else f", {entry.timeout} s left"
            mark = "" if entry.mark is None else f", mark 0x{entry.mark:08x}"
            yield f"  {entry.state}{left}{mark}: {_cached(live, flow, entry)}"
        if len(live.entries) > most:
            yield "  and more"


def _cached(live: LiveFlow, flow: Flow, entry: Entry) -> str:
    if not live.in_force or live.told is None or live.told.trusted is None:
        return "no verdict cache in force"
    if entry.mark is None or live.number is None:
        return "not known whether its verdict is cached"
    if entry.cached_as is None:
        return "not cached"
    other = "" if entry.cached_as == flow.direction else f" as {entry.cached_as}"
    if live.told.trusted:
        return f"cached{other}: accepted by the policy in force"
    return f"accepted{other} by the policy in force; cached verdicts are not trusted yet"
