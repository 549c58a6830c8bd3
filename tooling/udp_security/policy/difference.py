# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What changes when one policy takes the place of another: in meaning, not in words.

The verdicts are the oracle's (``oracle.decide``), so what the scope leaves alone is allowed. Mode
audit, in which denied flows pass, is a setting and changes no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from udp_security.policy import data, settings
from udp_security.policy.boxes import Box, Family, Policies, Space
from udp_security.policy.lifelines import pairs
from udp_security.policy.model import (
    ALL_SYSTEMS,
    DIRECTIONS,
    SYSTEMS,
    Direction,
    Network,
    OperatingSystem,
    Policy,
)
from udp_security.policy.settings import Settings

__all__ = ["Box", "Difference", "Loss", "Setting", "Unknown", "difference"]

_FAMILIES: Final[tuple[Family, ...]] = (4, 6)
# What becomes of packets: system, setting, new value. Windows drops whatever denyAction says.
_MEANINGS: Final[dict[tuple[OperatingSystem, str, str], str]] = {
    ("linux", "enabled", "true"): "an agent governs these nodes from now on",
    ("linux", "enabled", "false"): "the agent leaves these nodes: nothing is denied there any more",
    ("linux", "mode", "enforce"): "what no rule allows is denied, and no longer only counted",
    ("linux", "mode", "audit"): "what no rule allows is only counted, and passes",
    ("linux", "denyAction", "drop"): "whoever sends a denied packet hears nothing",
    ("linux", "denyAction", "reject"): "whoever sends a denied packet is told so by ICMP",
    ("linux", "scope", "host"): "all UDP flows are judged",
    ("linux", "scope", "cluster"): "only flows with a remote end in the cluster are judged",
    ("windows", "enabled", "true"): "an agent governs these hosts from now on",
    ("windows", "enabled", "false"): "the agent leaves these hosts: its firewall rules go",
    (
        "windows",
        "mode",
        "enforce",
    ): "the agent's firewall rules come: what no rule allows is denied",
    ("windows", "mode", "audit"): "the agent's firewall rules go: nothing is denied any more",
    ("windows", "scope", "host"): "all UDP flows of the host are judged",
    ("windows", "scope", "cluster"): "only flows with a remote end in the cluster are judged",
}


@dataclass(frozen=True)
class Setting:
    """A change that alters no verdict, but where it holds, or what it does to packets.

    ``meaning`` is for people.
    """

    os: OperatingSystem
    name: str
    old: str
    new: str
    meaning: str


@dataclass(frozen=True)
class Unknown:
    """A setting that only one side tells: nobody knows whether it changes."""

    os: OperatingSystem
    name: str


@dataclass(frozen=True)
class Loss:
    """Something that the lifeline ``name`` needs, some or all of which is newly denied."""

    name: str
    os: OperatingSystem
    direction: Direction
    source: Network
    destination: Network
    port: int


@dataclass(frozen=True)
class Difference:
    """The flows that are newly allowed and newly denied, changed settings, lifelines cut.

    The boxes are exact: a flow is in one of ``allowed`` if and only if the old policy denied it and
    the new one allows it, and likewise for ``denied``. A node's loopback flows, which are always
    allowed, do not count: they may be in a box, and no box has only them.

    Of each list, no box is covered by the others and no two boxes could be one. Boxes may overlap
    where that is shorter to read. That there are no fewer boxes is likely, not certain.
    """

    allowed: tuple[Box, ...]
    denied: tuple[Box, ...]
    settings: tuple[Setting, ...]
    lifelines: tuple[Loss, ...]
    not_compared: tuple[Unknown, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the two policies mean the same, as far as they were compared."""
        return not (self.allowed or self.denied or self.settings)


def difference(
    old: Policies,
    new: Policies,
    clusters: Sequence[Mapping[str, Sequence[str]]] = (),
    agents: tuple[Settings, Settings] = ({}, {}),
) -> Difference:
    """Compares the policies of all operating systems.

    One that is missing has no agent: nothing is denied there. ``clusters`` are both sides' own
    CIDRs, as in the values, for the lifelines: nodes may still have the old addresses, or have the
    new ones already. Without them there is nothing about lifelines. ``agents`` are the settings of
    old and new.
    """
    allowed: list[Box] = []
    denied: list[Box] = []
    for direction in DIRECTIONS:
        for family in _FAMILIES:
            space = Space(direction, family, (old, new))
            allowed += space.boxes(inside=1, outside=0)
            denied += space.boxes(inside=0, outside=1)
    return Difference(
        tuple(allowed),
        tuple(denied),
        (*_settings(old, new), *_agents(old, new, *agents)),
        tuple(dict.fromkeys(_losses(denied, clusters))),
        tuple(_unknown(old, new, *agents)),
    )


def _settings(old: Policies, new: Policies) -> Iterator[Setting]:
    for os in SYSTEMS:
        before, after = old.get(os), new.get(os)
        changes: list[tuple[str, str, str]] = []
        if before and after:
            changes += [
                ("mode", before.mode, after.mode),
                ("denyAction", before.deny_action, after.deny_action),
                ("scope", before.scope, after.scope),
            ]
        else:
            changes += [("enabled", _yes(before), _yes(after))]
        for name, one, other in changes:
            # A Windows host drops, whatever is asked for.
            meaning = _MEANINGS.get((os, name, other))
            if one != other and meaning:
                yield Setting(os, name, one, other, meaning)


def _agents(old: Policies, new: Policies, before: Settings, after: Settings) -> Iterator[Setting]:
    for os in _governed(old, new):
        for name, text in after.get(os, {}).items():
            former = before.get(os, {}).get(name, text)
            if text != former:
                yield Setting(os, name, former, text, settings.meaning(name, text))


def _unknown(old: Policies, new: Policies, before: Settings, after: Settings) -> Iterator[Unknown]:
    for os in _governed(old, new):
        one, other = before.get(os, {}), after.get(os, {})
        for name in dict.fromkeys((*one, *other)):
            if name not in one or name not in other:
                yield Unknown(os, name)


def _governed(old: Policies, new: Policies) -> Iterator[OperatingSystem]:
    return (os for os in SYSTEMS if os in old and os in new)


def _losses(
    denied: Sequence[Box], clusters: Sequence[Mapping[str, Sequence[str]]]
) -> Iterator[Loss]:
    """The same more than once, if both clusters need it."""
    for name, needs in data.lifelines().items():
        for os in SYSTEMS:
            for need in needs:
                if os in need.get("os", ALL_SYSTEMS):
                    boxes = [
                        box
                        for box in denied
                        if box.direction == need["direction"]
                        and os in box.systems
                        and any(low <= need["port"] <= high for low, high in box.ports)
                    ]
                    ends = (pair for cluster in clusters for pair in pairs(need, cluster))
                    for source, destination in ends:
                        if any(
                            _overlap(box.sources, source)
                            and _overlap(box.destinations, destination)
                            for box in boxes
                        ):
                            yield Loss(
                                name, os, need["direction"], source, destination, need["port"]
                            )


def _overlap(networks: Sequence[Network], network: Network) -> bool:
    return any(network.version == other.version and network.overlaps(other) for other in networks)


def _yes(policy: Policy | None) -> str:
    return "true" if policy else "false"
