# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Layers of values: what wins, and where a value is said to come from."""

from typing import Any

import pytest

from udp_security.values.load import ValuesFile
from udp_security.values.merge import Values
from udp_security.values.problem import Path

DEFAULTS = "mode: enforce\nrules: []\nlinux:\n  scope: host\n  image: {tag: v1, name: x}\n"


def layers(*texts: str, sets: tuple[str, ...] = ()) -> Values:
    files = [ValuesFile(f"{name}.yaml", text) for name, text in zip("abc", texts, strict=False)]
    return Values(ValuesFile("default.yaml", DEFAULTS), files, sets)


def default() -> dict[str, Any]:
    return ValuesFile("default.yaml", DEFAULTS).values


def test_nothing_gives_the_defaults() -> None:
    values = layers()
    assert values.merged == default()
    assert values.overrides == {}


def test_maps_merge_and_all_else_replaces() -> None:
    values = layers(
        "rules: [{name: a}, {name: b}]\nlinux: {image: {tag: v2}}\n",
        "rules: [{name: c}]\nlinux: {scope: cluster}\n",
        sets=("linux.image.tag=v3", "mode=audit"),
    )
    assert values.merged == {
        "mode": "audit",
        "rules": [{"name": "c"}],
        "linux": {"scope": "cluster", "image": {"tag": "v3", "name": "x"}},
    }


def test_null_removes_a_default_and_stays_elsewhere() -> None:
    values = layers("mode: null\nlinux: {scope: null, other: null}\nmore: null\n")
    assert values.merged == {
        "rules": [],
        "linux": {"other": None, "image": {"tag": "v1", "name": "x"}},
        "more": None,
    }
    assert values.overrides["mode"] is None


def test_a_later_file_can_take_a_null_back() -> None:
    assert layers("linux: null\n", "linux: {scope: cluster}\n").merged["linux"] == {
        "scope": "cluster",
        "image": {"tag": "v1", "name": "x"},
    }


def test_set_does_not_see_the_defaults_lists() -> None:
    assert layers(sets=("rules[0].name=a",)).merged["rules"] == [{"name": "a"}]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("mode",), "default.yaml:1:7"),
        (("rules", 0, "name"), "b.yaml:1:16"),
        (("rules", 0, "ports"), "b.yaml:1:9"),
        (("rules", 0, "from", 0), "--set:1:1"),
        (("linux", "scope"), "a.yaml:2:16"),
        (("linux", "image", "tag"), "--set:2:1"),
        (("linux", "image", "name"), "default.yaml:5:26"),
        (("linux",), "a.yaml:2:8"),
        (("new",), "--set:2:19"),
        (("new", "key"), "--set:2:19"),
        (("nowhere",), "b.yaml:1:1"),
        ((), "b.yaml:1:1"),
    ],
)
def test_where_values_come_from(path: Path, place: str) -> None:
    values = layers(
        "rules: [{name: x, ports: [1]}]\nlinux: {scope: cluster}\n",
        "rules: [{name: y}]\n",
        sets=("rules[0].from[0]=10.0.0.1", "linux.image.tag=7,new.key=1"),
    )
    assert str(values.locate(path)) == place


GIVEN = """\
rules:
- {name: a, os: [linux]}
- text
"""


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("rules", 0), "a.yaml:2:3"),
        (("rules", 0, "name"), "a.yaml:2:10"),
        # Set within what is no map: it becomes one.
        (("rules", 1), "--set:2:1"),
        # Nulls in front of what was set, and the map that was made for it.
        (("rules", 2), "--set:1:1"),
        (("rules", 3), "--set:1:1"),
        (("rules", 4), "--set:1:1"),
        (("rules", 5), "--set:2:14"),
        (("rules", 6), "--set:2:14"),
        # A list that was added to.
        (("rules", 0, "os"), "--set:3:1"),
        (("rules", 0, "os", 0), "a.yaml:2:18"),
        (("rules", 0, "os", 1), "--set:3:1"),
    ],
)
def test_what_a_set_makes_on_its_way_comes_from_it(path: Path, place: str) -> None:
    values = layers(
        GIVEN, sets=("rules[4].name=a", "rules[1].a=1,rules[6].name=b", "rules[0].os[1]=linux")
    )
    assert str(values.locate(path)) == place
    assert values.is_set(path) is place.startswith("--set")


def test_nulls_that_take_defaults_away() -> None:
    values = layers("mode: null\nlinux: {image: {tag: null}}\n", sets=("linux.scope=null",))
    for path, removed in {
        ("mode",): True,
        ("linux", "image", "tag"): True,
        ("linux", "scope"): True,
        ("linux", "image", "name"): False,
        ("nowhere", "at", "all"): False,
    }.items():
        assert values.removed(path) is removed


def test_where_keys_are() -> None:
    values = layers("linux:\n  scop: x\n", sets=("modus=1",))
    assert str(values.locate_key(("linux", "scop"))) == "a.yaml:2:3"
    assert str(values.locate_key(("modus",))) == "--set:1:1"
