# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Rules are swapped under load: no allowed packet is lost, no denied one passes."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import pytest
from tests.lab.agents import (
    LARGE_POLICY,
    OPEN,
    POLICY,
    Documents,
    Node,
    documents,
    heals,
    hurry,
    said,
    until,
    with_files,
)
from tests.lab.caching import forgetful, made, trusting
from tests.lab.flood import Flood

from udp_security.lab import sandbox
from udp_security.lab.pod import AgentPod

SWAPS: Final = {"trusted": 8, "untrusted": 4, "off": 4}
# In a plain user's namespace the kernel takes no large one.
_NETWORKS: Final = 30 if os.geteuid() or sandbox.rootless() else 100
# 10,000 entries.
WIDE: Final[dict[str, Any]] = {
    "rules": [
        *POLICY["rules"],
        *(
            {
                "name": f"site-{site}",
                "direction": "ingress",
                "ports": [10000 + site],
                "from": [f"10.{site}.{network}.0/24" for network in range(_NETWORKS)],
            }
            for site in range(_NETWORKS)
        ),
    ]
}
LARGE: Final[dict[str, Any]] = {"rules": [*POLICY["rules"], *LARGE_POLICY["rules"]]}
OFF: Final[dict[str, Any]] = {"verdictCache": {"enabled": False}}


def swapped(node: Node, pod: AgentPod, times: int) -> None:
    """Each heal is a swap; the damage itself, a chain that nothing refers to, does no harm."""
    first = heals(pod, node.lab)
    for number in range(first, first + times):
        node.nft("add", "chain", "inet", "udp_security", "theirs")
        until(lambda number=number: heals(pod, node.lab) > number, timeout=60)  # type: ignore[misc]


@pytest.mark.parametrize("cache", SWAPS)
def test_swaps_lose_and_leak_nothing(node: Node, cache: str) -> None:
    """Of 10,000 entries. While cached verdicts are trusted, each swap re-judges all flows."""
    if cache == "trusted":
        forgetful(node.lab)
        pod = node.start(made(WIDE, change=hurry))
        until(lambda: said(pod, "cached"))
    else:
        values = {**WIDE, "linux": OFF if cache == "off" else {}}
        pod = node.start(with_files(values, hurry))
    with Flood(node.lab, rest=0.0002) as flood:
        swapped(node, pod, SWAPS[cache])
        assert trusting(node) == (cache == "trusted")
    assert flood.sent > 10000
    assert (flood.lost, flood.leaked) == (0, 0)
    assert len(node.generations()) == 1


def rolled_out(node: Node, old: AgentPod, made: Documents) -> AgentPod:
    """A rollout with a surge: the new pod is ready before the old one leaves."""
    new = node.start(made)
    assert old.stop() == 0
    return new


def test_rollouts_lose_and_leak_nothing(node: Node) -> None:
    """Between a small policy and a large one, presets on and off, cache on and off."""
    values: list[dict[str, Any]] = [
        LARGE,
        dict(POLICY),
        {**POLICY, "presets": {"ntp": False, "dns": True}},
        {**POLICY, "linux": OFF},
        dict(POLICY),
    ]
    pod = node.start()
    with Flood(node.lab, rest=0.001) as flood:
        for one in values:
            pod = rolled_out(node, pod, documents(one))
    assert flood.sent > 1000
    assert (flood.lost, flood.leaked) == (0, 0)


@pytest.mark.parametrize("linux", [{}, OFF], ids=["cache", "no-cache"])
def test_audit_and_back(node: Node, linux: dict[str, Any]) -> None:
    """Audit lets pass what enforce denies, but nothing of that is remembered."""
    values = {**POLICY, "linux": linux}
    pod = node.start(documents(values))
    with Flood(node.lab, rest=0.001) as flood:
        assert flood.passed()["leaked"] == 0
        pod = rolled_out(node, pod, documents({**values, "mode": "audit"}))
        until(lambda: flood.passed()["leaked"] > 100)
        pod = rolled_out(node, pod, documents(values))
        leaked = flood.passed()["leaked"]
        sent = flood.sent
        until(lambda: flood.sent > sent + 1000)
        assert flood.passed()["leaked"] == leaked
    assert flood.lost == 0


def test_gaps(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    """A deleted pod's node is open until the replacement's policy is in force, with `onStop:
    remove`, and never with `keep`."""
    gaps = {}
    for on_stop in ("remove", "keep"):
        values = {**POLICY, "linux": {"onStop": on_stop}}
        pod = node.start(documents(values))
        with Flood(node.lab, rest=0.0005) as flood:
            assert pod.stop() == 0
            gone = time.monotonic()
            new = node.pod(documents(values))
            new.start()
            until(lambda new=new: said(new, "applied"))  # type: ignore[misc]
            leaked = flood.passed()["leaked"]
            gaps[on_stop] = time.monotonic() - gone if leaked else 0.0
            sent = flood.sent
            until(lambda flood=flood, sent=sent: flood.sent > sent + 500)  # type: ignore[misc]
            assert flood.passed()["leaked"] == leaked
        # A table that is new may lose a few packets in its first moment.
        assert flood.lost == 0 or on_stop == "remove"
        assert node.lab.probe("outsider", node.lab.address("node"), OPEN).replied
        assert new.exec("remove").returncode == 0
        new.kill()
    assert gaps["keep"] == 0 < gaps["remove"] < 10
    with capsys.disabled():
        print(f"\nonStop: remove left the node open for {gaps['remove']:.2f} s, keep never")
