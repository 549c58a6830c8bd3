# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The values to install: the user's, laid over what the cluster says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from udp_security.cluster.client import ClusterError
from udp_security.cluster.facts import POD, SERVICE, Facts, addition, missing
from udp_security.values.load import ValuesFile
from udp_security.values.merge import Values

_WORDS = {POD: "pods", SERVICE: "services"}


class UncoveredError(ClusterError):
    """The user's cluster.* values leave addresses of this cluster out; the message has the fix."""


@dataclass(frozen=True)
class Plan:
    """Values to install, and what the user should know of them.

    `found` are the lists under `cluster` that the cluster told; `untold` names those that it should
    have; `uncovered` says what the user's leave out, with the remedy, and is empty where nothing.
    """

    values: Values
    found: Mapping[str, list[str]]
    untold: tuple[str, ...]
    uncovered: str

    @property
    def notes(self) -> tuple[str, ...]:
        """All that was found, and what is wrong with it."""
        found = [f"cluster.{key} is now {_listed(cidrs)}" for key, cidrs in self.found.items()]
        refused = [f"Mode enforce would be refused: {self.uncovered}"] if self.uncovered else []
        return (*found, *self.untold, *refused)


def plan(values: Values, kept: Mapping[str, Any] | None, facts: Facts) -> Plan:
    """What `completed` gives; in mode enforce raises UncoveredError for what is uncovered."""
    planned = completed(values, kept, facts)
    if planned.uncovered and planned.values.merged["mode"] == "enforce":
        raise UncoveredError(planned.uncovered)
    return planned


def completed(values: Values, kept: Mapping[str, Any] | None, facts: Facts) -> Plan:
    """The user's `values` on top of what the facts call for.

    `kept` are the values of a release that goes on with them: those get what they lack. Without,
    K2s's addresses in the chart's defaults give way to the cluster's. Lists that the user wrote
    under `cluster` stay as they are.
    """
    own = own_cluster(values)
    base = values if kept is None else values.over(_file("the installed release", kept))
    open_facts = {key: cidrs for key, cidrs in facts.items() if key not in own}
    added = addition(base.merged["cluster"], open_facts, keep_all=kept is not None)
    planned = values
    if added:
        planned = planned.over(_file("the cluster's addresses", {"cluster": added}))
    if kept is not None:
        planned = planned.over(_file("the installed release", kept))

    untold = tuple(
        f"The cluster does not tell its {_WORDS[key]}' addresses: cluster.{key} stays "
        f"{_listed(planned.merged['cluster'][key])} (set it if that is wrong)"
        for key in _WORDS
        if not facts[key] and key not in own and kept is None
    )
    lacking = missing(planned.merged["cluster"], facts)
    return Plan(planned, added, untold, _remedy(own, lacking) if lacking else "")


def own_cluster(values: Values) -> Mapping[str, Any]:
    """What the user wrote under `cluster`."""
    return values.overrides.get("cluster") or {}


def _remedy(own: Mapping[str, Any], lacking: Mapping[str, list[str]]) -> str:
    lines = [f"cluster.{key} does not cover {_listed(cidrs)}" for key, cidrs in lacking.items()]
    lines.append("write these values, or leave them out to have the cluster's own taken:")
    lines.append("  cluster:")
    lines += [f"    {key}: {json.dumps([*own[key], *cidrs])}" for key, cidrs in lacking.items()]
    return "\n".join(lines)


def _listed(cidrs: list[str]) -> str:
    return ", ".join(cidrs)


def _file(name: str, values: Mapping[str, Any]) -> ValuesFile:
    return ValuesFile(name, json.dumps(values))
