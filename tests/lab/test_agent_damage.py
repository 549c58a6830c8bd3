# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The agent keeps the kernel at its policy: `check` sees every damage, and it is undone, by events
and, where there are none, by the next look."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from tests.lab.agents import (
    OTHER,
    POLICY,
    Node,
    check,
    heals,
    hurry,
    said,
    until,
    with_files,
    without_monitor,
)

from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

# Each takes the generation's prefix in a name and returns what a foreign hand loads.
DAMAGES: dict[str, Callable[[str], str]] = {
    "chain-flushed": lambda g: f"flush chain inet udp_security {g}ingress",
    "base-chain-flushed": lambda _: "flush chain inet udp_security forward",
    "base-chain-deleted": lambda _: (
        "flush chain inet udp_security forward; delete chain inet udp_security forward"
    ),
    "base-chain-with-another-priority": lambda g: (
        "flush chain inet udp_security input; delete chain inet udp_security input;"
        " add chain inet udp_security input { type filter hook input priority 10; };"
        f" add rule inet udp_security input meta l4proto udp jump {g}input"
    ),
    "base-chain-with-another-hook": lambda g: (
        "flush chain inet udp_security forward; delete chain inet udp_security forward;"
        " add chain inet udp_security forward { type filter hook postrouting priority -10; };"
        f" add rule inet udp_security forward meta l4proto udp jump {g}forwarded"
    ),
    "base-chain-with-another-policy": lambda _: "chain inet udp_security output { policy drop; }",
    "rule-added": lambda g: f"insert rule inet udp_security {g}ingress udp dport 9 accept",
    "rule-added-before-all": lambda _: "insert rule inet udp_security input accept",
    "element-deleted": lambda g: (
        f"delete element inet udp_security {g}r.preset.dns.ingress.from4 {{ 172.20.0.0/16 }}"
    ),
    "element-added": lambda g: (
        f"add element inet udp_security {g}r.preset.dns.ingress.from4 {{ 10.0.0.0/8 }}"
    ),
    "port-added": lambda g: (
        f"add element inet udp_security {g}ingress.ports {{ {OTHER} : jump {g}r.open }}"
    ),
    "chain-renamed": lambda g: f"rename chain inet udp_security {g}ingress {g}mine",
    "chain-of-others-added": lambda _: "add chain inet udp_security theirs",
    "hook-of-others-added": lambda _: (
        "add chain inet udp_security theirs { type filter hook input priority 5; };"
        " add rule inet udp_security theirs udp dport 9 drop"
    ),
    "hook-called-an-owner": lambda _: (
        "add chain inet udp_security owner-evil"
        " { type filter hook input priority -300; policy drop; }"
    ),
    "hook-called-a-standby": lambda _: (
        "add chain inet udp_security standby-evil { type filter hook input priority -300; };"
        " add rule inet udp_security standby-evil udp dport 9 drop"
    ),
    "release-deleted": lambda _: "delete chain inet udp_security release-udp-security/udp-security",
    "release-of-others-added": lambda _: "add chain inet udp_security release-theirs",
    "chain-of-a-later-generation": lambda _: "add chain inet udp_security g77.input",
    "chain-of-an-octal-generation": lambda _: "add chain inet udp_security g0099.input",
    "chain-of-a-huge-generation": lambda _: "add chain inet udp_security g99999999999999999999.x",
    "set-of-others-added": lambda _: "add set inet udp_security theirs { type ipv4_addr; }",
    "map-of-others-added": lambda _: (
        "add chain inet udp_security theirs;"
        " add map inet udp_security theirs { type inet_service : verdict; };"
        " add element inet udp_security theirs { 9 : jump theirs };"
        " add rule inet udp_security theirs udp dport vmap @theirs"
    ),
    "counter-of-others-added": lambda _: "add counter inet udp_security theirs",
    "quota-of-others-added": lambda _: "add quota inet udp_security theirs { 5 mbytes; }",
    "dormant": lambda _: "add table inet udp_security { flags dormant; }",
    "owner-deleted": lambda _: "delete chain inet udp_security owner-{self}",
    "table-flushed": lambda _: "flush table inet udp_security",
    "table-deleted": lambda _: "delete table inet udp_security",
    "table-replaced": lambda _: (
        "delete table inet udp_security; add table inet udp_security;"
        " add chain inet udp_security theirs"
    ),
}


@pytest.fixture(scope="module")
def kept(lab: Lab) -> Iterator[tuple[Node, AgentPod]]:
    """A node and the pod that keeps it, for all damages one after another. It looks by itself once
    an hour: events tell it."""
    with Node(lab) as node:
        yield node, node.start(with_files(POLICY, hurry, poll=3600))


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_fails_the_check_and_is_healed(kept: tuple[Node, AgentPod], damage: str) -> None:
    node, pod = kept
    policy, before, told = node.policy(), heals(pod, node.lab), len(said(pod, "healed"))
    (generation,) = node.generations()

    # The check is another process: it sees what the stopped agent cannot undo yet.
    pod.signal(signal.SIGSTOP)
    node.load(DAMAGES[damage](f"g{generation}.").replace("{self}", pod.uid).replace("; ", ";\n"))
    code, reason = check(pod)
    pod.signal(signal.SIGCONT)
    assert (code, reason.startswith("not in force: the ")) == (1, True)

    until(lambda: len(said(pod, "healed")) > told)
    until(lambda: heals(pod, node.lab) > before)
    assert check(pod)[0] == 0
    assert "\n".join(node.policy()) == "\n".join(policy)
    assert node.owners() == [pod.uid]
    assert heals(pod, node.lab) == before + 1
    assert len(said(pod, "healed")) == told + 1
    assert not said(pod, "leftovers")


def test_a_deleted_rule_is_restored(kept: tuple[Node, AgentPod]) -> None:
    node, pod = kept
    (generation,) = node.generations()
    chain, before = f"g{generation}.denied.ingress", heals(pod, node.lab)
    handle = node.handle(chain, "drop")
    assert not node.lab.probe("outsider", node.lab.address("node"), OTHER).delivered
    pod.signal(signal.SIGSTOP)
    node.nft("delete", "rule", "inet", "udp_security", chain, "handle", handle)
    assert node.lab.probe("outsider", node.lab.address("node"), OTHER).delivered
    assert check(pod)[0] == 1
    pod.signal(signal.SIGCONT)
    until(lambda: heals(pod, node.lab) > before)
    assert not node.lab.probe("outsider", node.lab.address("node"), OTHER).delivered


def test_the_poll_alone_heals_as_well(lab: Lab) -> None:
    with Node(lab) as node:
        pod = node.start(with_files(POLICY, without_monitor))
        for count, damage in enumerate(("base-chain-flushed", "table-deleted"), 1):
            node.load(DAMAGES[damage](""))
            until(lambda count=count: heals(pod, lab) == count)  # type: ignore[misc]
        assert check(pod)[0] == 0
