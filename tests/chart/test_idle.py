# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Rules that do nothing on some nodes: Helm's notes and the package count the same."""

from __future__ import annotations

import re
from typing import Any

import pytest

from udp_security.policy import idle

from .support import Helm, merged, rule

INSIDE = ["172.20.3.0/24"]
OUTSIDE = ["10.0.0.0/8", "fd00::/8"]

CASES: dict[str, tuple[dict[str, Any], int]] = {
    "inside": (rule("a", direction="ingress", **{"from": INSIDE}), 0),
    "outside": (rule("a", direction="ingress", **{"from": OUTSIDE}), 1),
    "partly": (rule("a", direction="ingress", **{"from": OUTSIDE + INSIDE}), 0),
    "around": (rule("a", direction="ingress", **{"from": ["172.16.0.0/12"]}), 0),
    "any": (rule("a", direction="ingress"), 0),
    "local end": (rule("a", direction="ingress", to=OUTSIDE), 0),
    "egress": (rule("a", direction="egress", to=OUTSIDE), 1),
    "egress local end": (rule("a", direction="egress", **{"from": OUTSIDE}), 0),
    "services": (rule("a", direction="egress", to=["172.21.0.10"], os=["windows"]), 0),
    "not there": (rule("a", direction="egress", to=OUTSIDE, os=["linux"]), 0),
    "forward": (rule("a", direction="forward", **{"from": OUTSIDE}), 0),
}


@pytest.mark.parametrize("case", CASES)
def test_windows(helm: Helm, case: str) -> None:
    given, expected = CASES[case]
    values = {"rules": [given]}
    said = [note for note in idle.notes(merged(values)) if "no address" in note]
    assert len(said) == expected
    assert all(note.startswith("1 rule(s) name no address of the cluster") for note in said)
    counted = re.findall(r"\((\d) of them name no address .* on (\w+) nodes", helm.notes(values))
    assert counted == [("1", "Windows")] * expected


def test_linux_in_scope_cluster(helm: Helm) -> None:
    both = {"direction": "forward", "from": OUTSIDE}
    rules = [rule("a", **both, to=OUTSIDE), rule("b", **both, to=INSIDE), rule("c", **both)]
    values = {"linux": {"scope": "cluster"}, "windows": {"enabled": False}, "rules": rules}
    (note,) = idle.notes(merged(values))
    assert note.endswith("they do nothing on Linux nodes: a")
    assert "(1 of them name no address of the cluster and do nothing on Linux" in helm.notes(values)


def test_scope_host_judges_all(helm: Helm) -> None:
    values = {
        "windows": {"scope": "host"},
        "rules": [rule("a", direction="egress", to=OUTSIDE)],
    }
    assert list(idle.notes(merged(values))) == []
    assert "no address of the cluster" not in helm.notes(values)
