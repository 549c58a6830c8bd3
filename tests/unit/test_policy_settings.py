# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Differences of the agents' settings, which no box of flows tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.strategies import merged

from udp_security.policy import Policy
from udp_security.policy.difference import Difference, Unknown, difference
from udp_security.policy.model import SYSTEMS
from udp_security.policy.settings import Settings, of_values

# Of the values: what policies have, and what changes nothing of what is denied.
IN_POLICIES = {"enabled", "scope"}
OF_NO_MEANING = {
    "image", "podAnnotations", "podLabels", "pollSeconds", "priorityClassName", "resources"
}  # fmt: skip
EXISTS = '[{"operator": "Exists"}]'


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> Difference:
    """The difference of users' values."""
    full = [merged(given) for given in (old, new)]
    one, other = (
        {os: Policy.from_values(v, os) for os in SYSTEMS if v[os]["enabled"]} for v in full
    )
    return difference(
        one, other, [v["cluster"] for v in full], (of_values(full[0]), of_values(full[1]))
    )


def rows(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Nothing else may differ."""
    found = compared(old, new)
    assert found.empty == (not found.settings)
    assert not (found.allowed or found.denied or found.lifelines or found.not_compared)
    assert all(setting.meaning for setting in found.settings)
    return [f"{s.os}.{s.name}: {s.old} -> {s.new}" for s in found.settings]


def test_every_value_is_compared_or_known_to_mean_nothing() -> None:
    full = merged({})
    for os, settings in of_values(full).items():
        assert {*full[os]} == {*settings} | IN_POLICIES | OF_NO_MEANING


@pytest.mark.parametrize("os", SYSTEMS)
def test_where_the_agent_runs(os: str) -> None:
    labels = {"disk": "ssd", "area": "b"}
    terms = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In",
                                                "values": ["a"]}]}]}}}  # fmt: skip
    key = {"key": "gpu", "operator": "Exists"}
    assert rows({}, {os: {"nodeSelector": labels}}) == [
        f'{os}.nodeSelector: none -> {{"area": "b", "disk": "ssd"}}'
    ]
    [row] = rows({os: {"affinity": terms}}, {})
    assert row.startswith(f'{os}.affinity: {{"nodeAffinity": ')
    assert row.endswith(" -> none")
    assert rows({}, {os: {"tolerations": []}}) == [f"{os}.tolerations: {EXISTS} -> none"]
    assert rows({}, {os: {"tolerations": [key]}}) == [
        f'{os}.tolerations: {EXISTS} -> [{{"key": "gpu", "operator": "Exists"}}]'
    ]
    assert rows({}, {os: {"onStop": "keep"}}) == [f"{os}.onStop: remove -> keep"]


@pytest.mark.parametrize(
    ("linux", "expected"),
    [
        ({"antiSpoofing": False}, ["antiSpoofing: true -> false"]),
        ({"prefilter": True}, ["prefilter: false -> true"]),
        ({"logDenials": True}, ["logDenials: false -> true"]),
        (
            {"untrackedReplyAddresses": ["fd00:0::1", "169.254.20.10"]},
            ["untrackedReplyAddresses: none -> 169.254.20.10, fd00::1"],
        ),
        ({"backend": "nftables"}, ["backend: auto -> nftables"]),
        (
            {"backend": "iptables", "prefilter": True},
            [
                "backend: auto -> iptables",
                "verdictCache: mask 0xff000000 -> off",
                "antiSpoofing: true -> false",
            ],
        ),
        ({"verdictCache": {"enabled": False}}, ["verdictCache: mask 0xff000000 -> off"]),
        ({"verdictCache": {"mask": 255}}, ["verdictCache: mask 0xff000000 -> mask 0x000000ff"]),
    ],
    ids=lambda given: str(given)[:30],
)
def test_what_a_linux_agent_does(linux: dict[str, Any], expected: list[str]) -> None:
    assert rows({}, {"linux": linux}) == [f"linux.{row}" for row in expected]
    assert len(rows({"linux": linux}, {})) == len(expected)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            {"linux": {"tolerations": [{"key": "a", "value": "b"}, {"key": "c", "value": ""}]}},
            {"linux": {"tolerations": [
                {"key": "c", "operator": "Equal"}, {"key": "a", "operator": "Equal", "value": "b"}
            ]}},
        ),
        ({}, {"windows": {"nodeSelector": {"kubernetes.io/os": "linux"}}}),
        (
            {"linux": {"untrackedReplyAddresses": ["10.0.0.1", "10.0.0.2"]}},
            {"linux": {"untrackedReplyAddresses": ["10.0.0.2", "10.0.0.1", "10.0.0.1/32"]}},
        ),
        (
            {"linux": {"verdictCache": {"enabled": False}}},
            {"linux": {"verdictCache": {"enabled": False, "mask": 255}}},
        ),
        ({"mode": "audit"}, {"mode": "audit", "linux": {"prefilter": True}}),
        (
            {"linux": {"backend": "iptables"}},
            {"linux": {"backend": "iptables", "antiSpoofing": False, "prefilter": True}},
        ),
        (
            {"windows": {"enabled": False}},
            {"windows": {"enabled": False, "onStop": "keep"}},
        ),
        ({}, {"linux": {"pollSeconds": 10, "resources": {}, "podLabels": {"a": "b"}}}),
        ({}, {"metrics": {"enabled": True}}),
    ],
)  # fmt: skip
def test_the_same_in_other_words(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert rows(old, new) == []


def test_what_one_side_does_not_tell_is_named() -> None:
    policies = {os: Policy.from_values(merged({}), os) for os in SYSTEMS}
    told = of_values(merged({"linux": {"logDenials": True}}))
    partly: Settings = {"linux": {"logDenials": "false", "backend": "auto"}}
    for both in ((told, partly), (partly, told)):
        found = difference(policies, policies, agents=both)
        assert [(s.os, s.name) for s in found.settings] == [("linux", "logDenials")]
        unknown = {(each.os, each.name) for each in found.not_compared}
        assert unknown == {
            (os, name) for os in SYSTEMS for name in told[os] if name not in partly.get(os, {})
        }
    # Nobody's business where there is no agent.
    del (linux := dict(policies))["windows"]
    left = difference(policies, linux, agents=(partly, told)).not_compared
    assert Unknown("windows", "onStop") not in left
