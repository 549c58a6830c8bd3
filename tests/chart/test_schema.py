# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The values' schema: what it refuses and takes, by Helm 4, Helm 3 and the package's validator.

Helm names everything that is wrong in one go, so many cases share one call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
from jsonschema_rs import Draft7Validator

from .bad_values import Bad, Path, bad_rules, bad_settings
from .support import CHART, SYSTEMS, Helm, Refused, Rendered, merged, rule, violations

BAD_RULES = list(bad_rules())
BAD_SETTINGS = list(bad_settings())
VALIDATOR = Draft7Validator(json.loads((CHART / "values.schema.json").read_text(encoding="utf-8")))


@cache
def complaints_of_rules(helm: Helm) -> list[tuple[str, str]]:
    """What Helm says about all bad rules in one list."""
    rules = [placed(bad) for bad in BAD_RULES]
    return refused_by(helm, {"rules": rules})


@cache
def complaints_of_settings(helm: Helm) -> list[list[tuple[str, str]]]:
    """What Helm says about each round of bad settings."""
    return [refused_by(helm, values_of(bads)) for bads in rounds()]


@cache
def rounds() -> list[list[Bad]]:
    """The bad settings in as few groups as keep each at a place of its own."""
    groups: list[list[Bad]] = []
    for bad in BAD_SETTINGS:
        for group in groups:
            if not any(overlap(bad.path, other.path) for other in group):
                group.append(bad)
                break
        else:
            groups.append([bad])
    return groups


def overlap(one: Path, other: Path) -> bool:
    """Whether one place lies within the other."""
    return all(a == b for a, b in zip(one, other, strict=False))


def refused_by(helm: Helm, values: dict[str, Any]) -> list[tuple[str, str]]:
    """Helm's complaints about values that it must refuse."""
    with pytest.raises(Refused) as refused:
        helm.template(values)
    return violations(refused.value)


def values_of(bads: Iterable[Bad]) -> dict[str, Any]:
    """Values with all the bad settings."""
    values: dict[str, Any] = {}
    for bad in bads:
        *parents, key = bad.path
        place = values
        for parent in parents:
            place = place.setdefault(str(parent), {})
        place[str(key)] = bad.value
    return values


def placed(bad: Bad) -> Any:
    """The rule that a bad rule's case stands for."""
    return rule(**{str(bad.path[0]): bad.value}) if bad.path else bad.value


def pointers(values: Any) -> set[str]:
    """Where the package's validator sees something wrong."""
    errors = VALIDATOR.iter_errors(values)
    return {"".join(f"/{step}" for step in error.instance_path) for error in errors}


@pytest.mark.parametrize("index", range(len(BAD_RULES)), ids=lambda i: f"{i}-{BAD_RULES[i]}")
def test_helm_refuses_a_bad_rule(helm: Helm, index: int) -> None:
    bad = BAD_RULES[index]
    found = [why for at, why in complaints_of_rules(helm) if at == f"/rules/{index}{bad.pointer}"]
    assert any(bad.says in why for why in found), found


@pytest.mark.parametrize("bad", BAD_RULES, ids=str)
def test_the_package_refuses_a_bad_rule(bad: Bad) -> None:
    assert pointers(merged({"rules": [placed(bad)]})) == {f"/rules/0{bad.pointer}"}


@pytest.mark.parametrize("bad", BAD_SETTINGS, ids=str)
def test_helm_refuses_a_bad_setting(helm: Helm, bad: Bad) -> None:
    (number,) = (
        number for number, group in enumerate(rounds()) if any(bad is one for one in group)
    )
    found = [why for at, why in complaints_of_settings(helm)[number] if at == bad.pointer]
    assert any(bad.says in why for why in found), found


@pytest.mark.parametrize("bad", BAD_SETTINGS, ids=str)
def test_the_package_refuses_a_bad_setting(bad: Bad) -> None:
    assert pointers(merged(values_of([bad]))) == {bad.pointer}


def test_helm_3_refuses_the_same(helm: Helm, helm3: Helm) -> None:
    """At the same places: its words changed within Helm 3.18."""
    for one, other in zip(
        [complaints_of_rules(helm3), *complaints_of_settings(helm3)],
        [complaints_of_rules(helm), *complaints_of_settings(helm)],
        strict=True,
    ):
        assert {place for place, _ in one} == {place for place, _ in other}


GOOD_RULES: list[dict[str, Any]] = [
    rule(name="a" * 63),
    rule(name="0"),
    rule(name="53"),
    rule(name="a--b"),
    rule(description=""),
    rule(description="x" * 1024),
    rule(description="Größe\n\"quotes\" {{ .Values }} }"),
    *(rule(direction=direction) for direction in ("ingress", "egress", "forward")),
    *(rule(os=os) for os in (["linux"], ["windows"], ["windows", "linux"])),
    *(
        rule(ports=ports)
        for ports in (
            [1], [65535], ["1"], ["65535"], ["1-65535"], ["53-53"], [53, 53, "53"], [53.0],
            ["9-10", "5-99"], [1, 22, 333, 4444, 55555],
            ["59999", "64999", "65499", "65529", "60000-65530"],
        )
    ),
    *(
        {**rule(), end: [address]}
        for end in ("from", "to")
        for address in (
            "0.0.0.0/0", "10.0.0.0/8", "10.1.2.3", "10.1.2.3/32", "255.255.255.255",
            "192.0.2.0/31", "::/0", "::", "::1", "1::", "fd00::/8", "FD00::A", "fd00::0001",
            "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "fe80::1/128", "64:ff9b::/96",
            "0:0:0:0:0:0:0:0/0", "2001:db8:0:0:1::/80",
        )
    ),
    rule(from_=["10.0.0.0/8", "fd00::/8"], to=["fd00::/8", "fd00::1"]),
]  # fmt: skip
GOOD_SETTINGS: list[dict[str, Any]] = [
    {},
    {"nameOverride": "a" * 50},
    {"nameOverride": "1"},
    {"mode": "audit", "denyAction": "reject"},
    {"presets": {"quic": True, "vpn": True, "windowsDomain": True, "ntp": False}},
    {"presets": {"ntp": None}},
    {"cluster": {"podCIDRs": ["fd00:1::/64", "10.0.0.0/8"], "serviceCIDRs": ["fd00:2::/112"]}},
    {"dangerouslyCutOff": ["flannelVxlan", "dhcp", "dns"]},
    {"imagePullSecrets": [{"name": "registry"}]},
    {"metrics": {"enabled": True, "port": 1024, "labels": {"a": "b"}}},
    {"metrics": {"enabled": True, "port": 65535, "prometheusOperator": False, "labels": None}},
    {"global": {"of": "a parent chart"}},
    {
        "linux": {
            "scope": "cluster",
            "onStop": "keep",
            "pollSeconds": 3600,
            "backend": "iptables",
            "verdictCache": {"enabled": False, "mask": 15},
            "antiSpoofing": False,
            "prefilter": True,
            "logDenials": True,
            "untrackedReplyAddresses": ["169.254.20.10", "fd00::10"],
            "image": {"repository": "registry.local:5000/a/b", "tag": "V1.2_3-x"},
            "resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {}},
            "nodeSelector": {"a.b/c": "true"},
            "tolerations": [
                {"key": "OS", "operator": "Equal", "value": "Windows", "effect": "NoSchedule"},
                {"effect": "NoExecute", "tolerationSeconds": 5},
            ],
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}},
            "priorityClassName": "",
            "podAnnotations": {"a": ""},
            "podLabels": {"a": "b"},
        }
    },
    {"linux": {"verdictCache": {"mask": 0xFFFFFFFF}}},
    {"windows": {"scope": "host", "onStop": "keep", "pollSeconds": 5}},
    *({os: {key: None for key in ("resources", "nodeSelector", "tolerations", "affinity",
                                  "priorityClassName", "podAnnotations", "podLabels")}}
      for os in SYSTEMS),
]  # fmt: skip


@pytest.mark.parametrize("values", GOOD_SETTINGS, ids=lambda values: str(values)[:80])
def test_good_settings_are_taken(either_helm: Helm, values: dict[str, Any]) -> None:
    assert not pointers(merged(values))
    assert "kind: DaemonSet" in either_helm.template(values)


@pytest.mark.parametrize("good", GOOD_RULES, ids=lambda good: str(good)[:80])
def test_the_package_takes_a_good_rule(good: dict[str, Any]) -> None:
    assert not pointers(merged({"rules": [good]}))


def test_helm_takes_all_good_rules(either_helm: Helm) -> None:
    rules = [
        {**good, "name": f"r{index}" if good["name"] == "a" else good["name"]}
        for index, good in enumerate(GOOD_RULES)
    ]
    text = either_helm.template({"rules": rules})
    kept = {os: [given["name"] for given in rules if os in given.get("os", [os])] for os in SYSTEMS}
    ruleset = Rendered(text).ruleset
    assert [name for name in kept["linux"] if f"\tcounter r.{name} {{ }}\n" not in ruleset] == []
    names = {given["name"] for given in Rendered(text, "windows").policy["rules"]}
    forward = {given["name"] for given in rules if given["direction"] == "forward"}
    assert set(kept["windows"]) - forward == {name for name in names if ":" not in name}


def test_the_default_values_are_valid() -> None:
    assert not pointers(merged({}))
