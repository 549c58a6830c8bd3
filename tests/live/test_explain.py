# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security explain --live` says what the real agent and the lab's kernel did with packets."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.golden import compare
from tests.lab import caching
from tests.lab.agents import OPEN, OTHER, POLICY, status, until
from tests.live.conftest import Live

from udp_security.lab.addresses import Family

GOLDEN = Path(__file__).parent / "golden"


def flow(live: Live, port: int, family: Family = 4) -> list[str]:
    """From the outsider to the node."""
    ends = (live.topology.address(name, family) for name in ("outsider", "node"))
    source, destination = ends
    arguments = ["--direction", "ingress", "--from", source, "--to", destination]
    return [*arguments, "--port", str(port)]


def explain(live: Live, port: int, family: Family = 4) -> dict[str, Any]:
    done = live.run(
        "explain",
        "--live",
        "--timeout",
        "60",
        "--node",
        "node",
        *flow(live, port, family),
        "-o",
        "json",
    )
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def stable(text: str) -> str:
    """Without times, the hash of the chart's files, and how many packets were sent."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-31T12:00:00Z", text)
    text = re.sub(r"policy [0-9a-f]{12}", "policy 0123456789ab", text)
    text = re.sub(r"\d+ s left, mark 0x[0-9a-f]{8}", "119 s left, mark 0x41000000", text)
    text = re.sub(r"\b\d+ (packet|flow)s?", r"2 \1s", text)
    return re.sub(r"the last \d+ s ago", "the last 1 s ago", text)


def test_a_cached_flow(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once no entry can carry an older policy's value, packets are accepted by their mark.

    The first test: it takes a table that no other agent had.
    """
    monkeypatch.setattr("tests.live.conftest.documents", caching.made)
    caching.forgetful(live.topology)
    live.enforce(POLICY)
    until(lambda: status(live.agent)["cache"]["trusted"], timeout=60)
    # Its entry shall live for as long as a slow machine needs.
    names = ("nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream")
    live.topology.ns("node").sysctl({f"net/netfilter/{name}": 120 for name in names})
    with live.topology.stream("outsider", live.topology.address("node"), OPEN) as stream:
        assert stream.send(timeout=2).replied
        found = explain(live, OPEN)
        done = live.run("explain", "--live", "--timeout", "60", "--node", "node", *flow(live, OPEN))
    assert found["live"]["cacheTrusted"] is True
    accepting = [step for step in found["path"] if step["outcome"] == "accepts"]
    says = "verdict cache: the entry's mark is this policy's"
    assert accepting == [{"hook": "input", "step": says, "outcome": "accepts"}]
    compare(GOLDEN / "explain-cached.txt", stable(done.stdout))


def test_an_allowed_flow(live: Live) -> None:
    """Over IPv6, whose addresses conntrack writes in full."""
    live.enforce(POLICY)
    before = explain(live, OPEN, 6)
    assert before["live"]["conntrack"]["entries"] == []
    with live.topology.stream("outsider", live.topology.address("node", 6), OPEN) as stream:
        for _ in range(2):
            assert stream.send(timeout=2).replied
        found = explain(live, OPEN, 6)
    assert found["verdict"] == "allow"
    now = found["live"]
    assert now["inForce"] and now["ownPolicy"] and now["reason"] is None
    assert now["counters"][0]["rule"] == "open"
    assert now["counters"][0]["count"] > before["live"]["counters"][0]["count"]
    assert now["deniedFlow"] == {"packets": 0, "bytes": 0, "ago": None}
    (entry,) = now["conntrack"]["entries"]
    assert now["conntrack"]["cacheKnown"] and not now["conntrack"]["more"]
    assert entry["cachedAs"] == "ingress"
    assert entry["mark"] and 0 < entry["timeout"] < 1000


def test_a_denied_flow(live: Live) -> None:
    live.enforce(POLICY)
    address = live.topology.address("node")
    assert not live.topology.probe("outsider", address, OTHER, timeout=0.05).delivered
    found = explain(live, OTHER)
    assert found["verdict"] == "deny"
    assert found["live"]["conntrack"]["entries"] == []
    assert found["live"]["denied"]["packets"] >= found["live"]["deniedFlow"]["packets"] >= 1
    assert found["live"]["deniedFlow"]["ago"] < 600
    assert [step["outcome"] for step in found["path"]].count("denies") == 1
    assert found["path"][-1]["outcome"] == "not reached"
    done = live.run("explain", "--live", "--timeout", "60", "--node", "node", *flow(live, OTHER))
    compare(GOLDEN / "explain-denied.txt", stable(done.stdout))


def test_audit(live: Live) -> None:
    live.enforce({**POLICY, "mode": "audit"})
    with live.topology.stream("outsider", live.topology.address("node"), OTHER) as stream:
        assert stream.send(timeout=2).replied
        found = explain(live, OTHER)
    assert (found["verdict"], found["mode"]) == ("deny", "audit")
    assert found["live"]["deniedFlow"]["packets"] >= 1
    (entry,) = found["live"]["conntrack"]["entries"]
    assert entry["cachedAs"] is None
    assert [step["outcome"] for step in found["path"]].count("would deny") == 1
    assert found["path"][-1]["outcome"] == "passes"
