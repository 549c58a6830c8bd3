# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Whatever has the wrong form in one place, all that is wrong elsewhere is still told."""

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from udp_security.chart import chart_dir
from udp_security.values import validation
from udp_security.values.load import ValuesFile, read
from udp_security.values.merge import Values
from udp_security.values.problem import Path, dotted

GIVEN: dict[str, Any] = {
    "presets": {"dns": False, "ntp": True},
    "dangerouslyCutOff": ["dns"],
    "windows": {"enabled": True},
    "linux": {
        "enabled": True,
        "untrackedReplyAddresses": ["fd00::1", "10.0.0.1"],
        "verdictCache": {"enabled": True, "mask": 0xF0F},
    },
    "cluster": {"serviceCIDRs": ["10.96.0.0/12", "fd00:96::/112"], "dnsServers": ["10.0.0.1/8"]},
    "rules": [
        {"name": "a", "direction": "egress", "ports": ["9-7", 1], "from": ["10.0.0.0/8"]},
        {"name": "b", "direction": "forward", "ports": [5], "to": ["fd00::1/64", "10.96.0.1"]},
        {"name": "a", "direction": "forward", "ports": [5], "os": ["windows"]},
        {"name": "c", "direction": "ingress", "ports": [5], "from": ["::1"], "to": ["10.0.0.1"]},
    ],
}
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1.5, "", "x", "9-7", "::ffff:1.2.3.4", [], [[]], {}, {"x": 1}, ["x"], 70000]
)


def places(value: Any, path: Path = ()) -> list[Path]:
    """Every path of a value but the empty one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found: list[Path] = []
    for key, item in inner:
        found.append((*path, key))
        if isinstance(item, (dict, list)):
            found += places(item, (*path, key))
    return found


def told(values: dict[str, Any]) -> set[tuple[Path, str]]:
    defaults = read(str(chart_dir() / "values.yaml"))
    merged = Values(defaults, [ValuesFile("v.yaml", json.dumps(values))], [])
    problems = validation.check(merged, chart_dir())
    assert len(set(problems)) == len(problems)
    return {(problem.path, problem.message) for problem in problems}


TOLD = told(GIVEN)


def test_the_values_have_problems_of_every_kind() -> None:
    assert {dotted(path) for path, _ in TOLD} == {
        "cluster.dnsServers[0]",
        "rules[0].ports[0]",
        "rules[1].to[0]",
        "rules[1].to[1]",
        "rules[2].name",
        "rules[2].direction",
        "rules[3].to",
        "linux.verdictCache.mask",
    }


@given(st.sampled_from(places(GIVEN)), JUNK)
def test_a_fault_elsewhere_hides_nothing(place: Path, junk: Any) -> None:
    values = copy.deepcopy(GIVEN)
    inner: Any = values
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = junk
    found = told(values)
    # What was said of the place itself, what it holds, or together with it, may change.
    related = {
        (path, message)
        for path, message in TOLD
        if path[: len(place)] == place
        or place[:2] == ("cluster", "serviceCIDRs")[: len(place)]
        or (place[0] == "rules" and (len(place) < 2 or path[:2] == place[:2]))
        or (path[-1] == "name" and place[0] == "rules")
    }
    assert TOLD - related <= found
