# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What an agent's `status` says. It may be anything: nodes get taken over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from udp_security.cluster.execution import Answer
from udp_security.cluster.words import one_line
from udp_security.policy.facts import MODES, Mode
from udp_security.policy.fields import Fields
from udp_security.policy.model import DIRECTIONS

_BACKENDS: Final = ("nftables", "iptables", "windows-firewall")
_COUNT: Final = (1 << 64) - 1


@dataclass(frozen=True)
class Traffic:
    """What a counter has counted; flows instead of packets where verdicts are cached."""

    packets: int
    bytes: int


@dataclass(frozen=True)
class Told:
    """What is shown to people of what an agent said; `raw` is all of it.

    `trusted`: whether flows are accepted by cached verdicts, None where there are none. `rules` and
    `denied` are counters by a rule's name and by direction, empty where there are none. `flows` are
    those denied most, None where the node doesn't tell.
    """

    raw: Mapping[str, Any]
    backend: str
    version: str | None
    generation: str | None
    owner: str | None
    mode: Mode | None
    healthy: bool
    reason: str | None
    applied: datetime | None
    heals: int
    not_governed: tuple[str, ...]
    trusted: bool | None
    rules: Mapping[str, Traffic]
    denied: Mapping[str, Traffic]
    flows: tuple[object, ...] | None


def told_by(answer: Answer) -> tuple[str, Told | None]:
    """Why the agent's policy is not in force, empty when it is, and what it says."""
    if not answer.good:
        return f"the agent does not answer: {answer.words}", None
    try:
        told = _read(json.loads(answer.text))
    # The second: brackets in brackets in brackets.
    except (ValueError, RecursionError) as error:
        return f"the agent printed no status: {one_line(str(error))}", None
    return "" if told.healthy else told.reason or "the agent does not say why", told


def _read(raw: Any) -> Told:
    """Raises ValueError."""
    said = Fields(raw)
    counters = said.inner("counters")
    denied = counters.inner("denied")
    flows = said.optional(said.objects, "deniedFlows")
    cache = said.optional(said.inner, "cache")
    return Told(
        raw=raw,
        backend=said.one_of("backend", _BACKENDS),
        version=said.optional(said.text, "version"),
        generation=said.optional(said.text, "generation"),
        owner=said.optional(said.text, "owner"),
        mode=said.optional(lambda name: said.one_of(name, MODES), "mode"),
        healthy=said.flag("healthy"),
        reason=said.optional(said.text, "reason"),
        applied=said.optional(said.time, "appliedAt"),
        heals=said.whole("heals", 0, _COUNT),
        not_governed=said.texts("notGoverned"),
        trusted=cache.flag("trusted") if cache else None,
        rules={
            rule.text("name"): _traffic(rule) for rule in map(Fields, counters.objects("rules"))
        },
        denied={
            direction: _traffic(denied.inner(direction))
            for direction in DIRECTIONS
            if denied.has(direction)
        },
        flows=None if flows is None else tuple(flows),
    )


def _traffic(counter: Fields) -> Traffic:
    return Traffic(counter.whole("packets", 0, _COUNT), counter.whole("bytes", 0, _COUNT))
