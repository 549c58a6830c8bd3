# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The truth table with the iptables backend: the agent's pod, the lab's cluster, real packets."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from tests.lab import (
    test_truth_audit,
    test_truth_flows,
    test_truth_reject,
    test_truth_untracked,
)
from tests.lab.iptables import legacy_missing, used_variant
from tests.lab.table import Governed, Row, each_row_under, govern

from udp_security.lab.addresses import Family
from udp_security.lab.topology import Lab

_FLOWS: Final = [
    *test_truth_flows.INGRESS,
    *test_truth_flows.EGRESS,
    *test_truth_flows.FORWARD,
    *test_truth_flows.SERVICES,
    *test_truth_flows.LOOPBACK,
]
POLICIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "flows": test_truth_flows.POLICY,
    "flows-legacy": test_truth_flows.POLICY,
    "audit": test_truth_audit.POLICY,
    "reject": test_truth_reject.POLICY,
    "reject-legacy": test_truth_reject.POLICY,
    "untracked": test_truth_untracked.POLICIES["answering"],
}
# The unit tests and the differential ones ask for the fate of every flow: here some stand for all.
TABLES: Final = {
    "flows": _FLOWS[::4],
    "flows-legacy": _FLOWS[1::9],
    "audit": test_truth_audit.ROWS[::4],
    "reject": test_truth_reject.ROWS[::3],
    "reject-legacy": test_truth_reject.ROWS[1::5],
    "untracked": test_truth_untracked.TABLES["answering"][::2],
}


@pytest.fixture(scope="module")
def governed(lab: Lab, request: pytest.FixtureRequest) -> Iterator[Governed]:
    """One of the policies on both nodes, in one of the variants."""
    name = request.param
    nodes = ("node",) if name == "untracked" else ("node", "node2")
    values = {**POLICIES[name], "linux": {**POLICIES[name].get("linux", {}), "backend": "iptables"}}
    with contextlib.ExitStack() as stack:
        if name == "untracked":
            lab.run("node", ["nft", "-f", "-"], stdin=test_truth_untracked.NOTRACK)
            forget = ["nft", "delete", "table", "inet", "elsewhere"]
            stack.callback(lab.run, "node", forget)
        legacy = name.endswith("-legacy")
        if legacy:
            if why := legacy_missing(functools.partial(lab.run, "node")):
                assert not os.environ.get("CI"), why
                pytest.skip(why)
            for node in nodes:
                stack.enter_context(used_variant(functools.partial(lab.run, node), "legacy"))
        yield stack.enter_context(govern(lab, values, *nodes))


@each_row_under(TABLES)
def test_flow(governed: Governed, row: Row, family: Family) -> None:
    row.check(governed, family)
