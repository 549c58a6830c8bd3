# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Pods of one node in the truth table where the bridge does not ask the firewall.

Then no rule of any firewall sees their packets, and all that is left is to say so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.lab.table import Governed, Row, each_family, govern

from udp_security.lab.addresses import Family
from udp_security.lab.topology import Lab

SETTINGS = {4: "bridge-nf-call-iptables", 6: "bridge-nf-call-ip6tables"}


@pytest.fixture(scope="module")
def governed(lab: Lab) -> Iterator[Governed]:
    """The chart's defaults on the node."""
    with govern(lab, {}) as governed:
        yield governed


@each_family
def test_bridge_without_firewall(governed: Governed, family: Family) -> None:
    """Each family has its own switch: one's packets pass uncounted, the other's are judged."""
    lab = governed.lab
    setting = SETTINGS[family]
    other: Family = 6 if family == 4 else 4
    within = Row("", "pod-a", "pod-b", 5001, "answered")
    judged = Row("", "pod-a", "pod-b", 5001, "denied", {"denied.forward": 1})
    through = Row("", "pod-a", "outsider", 5001, "denied", {"denied.forward": 1})
    judged.check(governed, family)
    lab.ns("node").sysctl({f"net/bridge/{setting}": 0})
    try:
        within.check(governed, family)
        judged.check(governed, other)
        through.check(governed, family)
        words = f"traffic within bridge cni0: {setting} is 0 (set it to 1)"
        check = governed.pods["node"].exec("check")
        assert check.returncode == 0, check
        assert check.stdout.splitlines()[1:] == [f"not governed: {words}"]
        status = json.loads(governed.pods["node"].exec("status").stdout)
        assert (status["healthy"], status["notGoverned"]) == (True, [words])
    finally:
        lab.ns("node").sysctl({f"net/bridge/{setting}": 1})
    judged.check(governed, family)
    assert governed.pods["node"].exec("check").stdout.count("\n") == 1
