# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The chart's own schema, and the words for everything that it refuses."""

import json
from typing import Any

import pytest

from udp_security.chart import chart_dir
from udp_security.values import schema
from udp_security.values.load import read
from udp_security.values.problem import Path, dotted

SCHEMA = json.loads((chart_dir() / "values.schema.json").read_text(encoding="utf-8"))
RULE: dict[str, Any] = {"name": "a", "direction": "ingress", "ports": [514]}


def defaults() -> dict[str, Any]:
    return read(str(chart_dir() / "values.yaml")).values


class Origin:
    """A null at one path, and everything from --set or nothing."""

    def __init__(self, removed: Path | None, is_set: bool) -> None:
        self._removed, self._is_set = removed, is_set

    def removed(self, path: Path) -> bool:
        return path == self._removed

    def is_set(self, _: Path) -> bool:
        return self._is_set


def told(values: dict[str, Any], removed: Path | None = None, *, is_set: bool = False) -> list[str]:
    found = schema.check(values, SCHEMA, Origin(removed, is_set))
    return [f"{dotted(problem.path)}: {problem.message}" for problem in found]


def test_the_defaults_are_valid() -> None:
    assert told(defaults()) == []


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"ports": [0]}, "rules[0].ports[0]: 0 is not a port"),
        ({"ports": [65536]}, "write a number from 1 to 65535"),
        ({"ports": ["70-60x"]}, '"70-60x" is not a port'),
        ({"ports": ["1-70000"]}, "70000 is not in 1-65535"),
        ({"ports": [True]}, "rules[0].ports[0]: true is not a port"),
        ({"ports": 514}, "rules[0].ports: 514 is a whole number, not a list (write [514])"),
        ({"ports": []}, "rules[0].ports: the list is empty"),
        ({"from": []}, "rules[0].from: the list is empty, which would allow nothing"),
        ({"to": ["10.0.0.300"]}, "octet 300 (> 255) not permitted (write it as in 10.1.0.0/16"),
        ({"to": ["10.0.0.0/33"]}, "'33' is not a valid netmask"),
        ({"to": ["fd00::g"]}, "only hex digits permitted in 'g' (write it as in fd00:10::/64"),
        ({"to": ["host.example"]}, "names are not looked up"),
        ({"to": ["::ffff:10.0.0.1"]}, "IPv4 notation inside IPv6 (write the IPv4 address"),
        ({"to": [5]}, "5 is not an IPv4 or IPv6 address or CIDR (write it as"),
        ({"to": [""]}, 'rules[0].to[0]: "" is not an IPv4'),
        ({"to": "10.0.0.0/8"}, '"10.0.0.0/8" is text, not a list (write ["10.0.0.0/8"])'),
        ({"name": "Ward_1"}, '"Ward_1" is not a DNS label (write lower-case'),
        ({"name": "x" * 64}, "64 characters, more than 63"),
        ({"name": 514}, "rules[0].name: 514 is not a DNS label"),
        (
            {"direction": "ingres"},
            '"ingres" is not ingress, egress or forward (did you mean "ingress"?)',
        ),
        ({"direction": "both"}, "is not ingress, egress or forward (write one of these)"),
        ({"direction": False}, "false is a truth value, not ingress, egress or forward (write"),
        ({"form": ["10.0.0.1"]}, 'rules[0].form: unknown key (did you mean "from"?)'),
        ({"zzz": 1}, "rules[0].zzz: unknown key (known here: description, direction, from,"),
        ({"os": ["linux", "linux"]}, 'rules[0].os: "linux" is listed twice (remove one)'),
        ({"description": "x" * 1025}, "the text has 1025 characters (shorten it to 1024)"),
        ({"description": 5}, '5 is a whole number, not text (put it in quotes: "5")'),
        ({"description": None}, "rules[0].description: is null, not text (write text)"),
        ({"description": {"a": 1}}, "rules[0].description: is a map, not text"),
    ],
)
def test_rules(rule: dict[str, Any], message: str) -> None:
    (problem,) = told(defaults() | {"rules": [RULE | rule]})
    assert message in problem


def test_other_values() -> None:
    values = defaults()
    values["presets"]["dnss"] = True
    values["presets"]["ntp"] = "yes"
    values["metrics"]["port"] = 80
    values["metrics"]["labels"] = {"release": 1}
    values["linux"]["pollSeconds"] = 0
    values["windows"]["pollSeconds"] = 61
    values["windows"]["scope"] = "hosts"
    values["linux"]["nodeSelector"] = {"a/b": 1}
    values["linux"]["image"]["tag"] = "a b"
    values["imagePullSecrets"] = [{"name": ""}]
    assert sorted(told(values)) == [
        "imagePullSecrets[0].name: the text is empty (write something)",
        f'linux.image.tag: "a b" is not allowed (it must match {_pattern("tag")})',
        'linux.nodeSelector["a/b"]: 1 is a whole number, not text (put it in quotes: "1")',
        "linux.pollSeconds: 0 is not allowed (write a number from 1 to 3600)",
        'metrics.labels.release: 1 is a whole number, not text (put it in quotes: "1")',
        "metrics.port: 80 is not allowed (write a number from 1024 to 65535)",
        'presets.dnss: unknown key (did you mean "dns"?)',
        'presets.ntp: "yes" is text, not true or false (write it without quotes)',
        "windows.pollSeconds: 61 is not allowed (write a number from 5 to 60)",
        'windows.scope: "hosts" is not host or cluster (did you mean "host"?)',
    ]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            ("priorityClassName",),
            5,
            '5 is a whole number, not text (put it into a values file, in quotes: "5")',
        ),
        (
            ("pollSeconds",),
            "010",
            '"010" is text, not a whole number '
            "(write a whole number, or put it into a values file without quotes)",
        ),
        (
            ("enabled",),
            "yes",
            '"yes" is text, not true or false '
            "(write true or false, or put it into a values file without quotes)",
        ),
        (("untrackedReplyAddresses",), "10.0.0.1", "is text, not a list (write {10.0.0.1})"),
    ],
)
def test_values_that_come_from_set(path: Path, value: Any, message: str) -> None:
    values = defaults()
    values["linux"][path[0]] = value
    (problem,) = told(values, is_set=True)
    assert message in problem


def test_ports_that_come_from_set_have_no_quotes() -> None:
    (problem,) = told(defaults() | {"rules": [RULE | {"ports": ["1-x"]}]}, is_set=True)
    assert '(write a number from 1 to 65535, or a range such as "5000-5100")' in problem


def _pattern(name: str) -> str:
    return str(SCHEMA["definitions"]["image"]["properties"][name]["pattern"])


def test_missing_keys_are_told_each_once() -> None:
    values = defaults() | {"rules": [{"name": "a"}, 7]}
    assert told(values) == [
        'rules[0]: "direction" is missing (add direction: ingress, egress or forward)',
        'rules[0]: "ports" is missing (add ports: a list)',
        "rules[1]: 7 is a whole number, not a map (write a map)",
    ]


def test_a_null_that_took_a_needed_default_away() -> None:
    values = defaults()
    del values["mode"]
    assert told(values, removed=("mode",)) == [
        "mode: null removes the default of a value that is needed (write enforce or audit)"
    ]


@pytest.mark.parametrize("os", ["linux", "windows"])
def test_what_is_wanted_is_also_told_of_shared_parts_of_the_schema(os: str) -> None:
    values = defaults()
    del values[os]["scope"], values[os]["image"]
    assert told(values) == [
        f'{os}: "scope" is missing (add scope: host or cluster)',
        f'{os}: "image" is missing (add image: a map)',
    ]


def test_control_characters_do_not_reach_the_terminal() -> None:
    (problem,) = told(defaults() | {"a\x1b[31m": 1})
    assert "\x1b" not in problem
