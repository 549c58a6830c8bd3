# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What `check` and `status` answer while the kernel changes, and what they take no offence at."""

from __future__ import annotations

import signal

from tests.lab.agents import OPEN, OTHER, Node, check, documents, heals, said, status, until

from udp_security.lab.topology import Lab


def test_counters_and_other_tables_are_no_damage(sandboxed: None) -> None:
    with Lab() as own, Node(own) as node:
        pod = node.start()
        before = status(pod)["counters"]
        assert own.probe("outsider", own.address("node"), OPEN).replied
        assert not own.probe("outsider", own.address("node"), OTHER).delivered
        assert status(pod)["counters"] != before
        node.nft("reset", "counters", "table", "inet", "udp_security")
        node.load("table inet theirs { chain c { type filter hook input priority -20; }; }")
        own.flannel_restart()
        own.iptables_flush()
        node.forget_others()
        assert check(pod)[0] == 0
        # The first thing that it heals is what comes after all this.
        node.nft("add", "chain", "inet", "udp_security", "theirs")
        until(lambda: heals(pod, own) == 1)
        assert len(said(pod, "healed")) == 1


def test_everything_flushed_is_healed_and_nothing_else(sandboxed: None) -> None:
    with Lab() as own, Node(own) as node:
        pod = node.start()
        policy = node.policy()
        node.nft("flush", "ruleset")
        node.forget_others()
        until(lambda: said(pod, "healed") and status(pod)["healthy"])
        assert "\n".join(node.policy()) == "\n".join(policy)


def test_reasons_are_told(node: Node) -> None:
    pod = node.pod(documents(poll=3600))
    pod.start()
    until(lambda: said(pod, "applied"))
    assert check(pod)[1].startswith("in force: policy ")
    # Else it would heal what is done to it.
    pod.signal(signal.SIGSTOP)
    node.nft("delete", "table", "inet", "udp_security")
    assert check(pod) == (1, "not in force: the rules are gone from the kernel\n")
    assert status(pod)["reason"] == "the rules are gone from the kernel"
    node.load("table inet udp_security { chain theirs { }; }")
    assert check(pod)[0] == 1
