# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Who owns the node: claims, rollouts and rollbacks in every order, and who may remove rules."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import pytest
from tests.lab.agents import (
    ANOTHER_POLICY,
    LARGE_POLICY,
    OTHER,
    OTHER_RELEASE,
    POLICY,
    Node,
    check,
    documents,
    heals,
    said,
    state,
    status,
    until,
)
from tests.lab.flood import Flood

from udp_security.lab.pod import AgentPod

KEEP: dict[str, Any] = {"linux": {"onStop": "keep"}}


def standing_by(node: Node, pod: AgentPod) -> bool:
    """Whether the pod announces that it would take the node over."""
    return f"\tchain standby-{pod.uid} {{" in node.table()


def rolled_out(node: Node, **values: Any) -> tuple[AgentPod, AgentPod]:
    """A pod, superseded and standing by, and the newer one that owns the node."""
    old = node.start(documents({**POLICY, **values}))
    new = node.start(documents({**ANOTHER_POLICY, **values}))
    until(lambda: standing_by(node, old))
    return old, new


def test_a_fresh_node_is_claimed_and_given_back(node: Node) -> None:
    pod = node.start()
    assert node.owners() == [pod.uid]
    assert pod.stop() == 0
    assert node.table() == ""
    assert said(pod, "removed") == ["all rules are removed: UDP is open again"]
    # As in a rollout in which the old pod stops before the new one starts.
    new = node.start(documents(ANOTHER_POLICY))
    assert node.owners() == [new.uid]


def test_a_second_release_does_not_take_the_node_over(node: Node) -> None:
    first = node.start()
    policy = node.policy()
    second = node.pod(documents(ANOTHER_POLICY, environment=OTHER_RELEASE))
    second.start()
    (reason,) = until(lambda: said(second, "other-release"))
    assert "Helm release udp-security/udp-security guards this node" in reason
    assert first.uid in reason
    assert check(second) == (1, f"not in force: {reason}\n")
    assert first.ready()
    assert (node.owners(), node.policy()) == ([first.uid], policy)
    # When the first one is uninstalled, the second one guards the node.
    assert first.stop() == 0
    second.wait_ready()
    assert second.stop() == 0
    assert node.table() == ""


def test_surge_hands_the_node_to_the_new_pod(node: Node) -> None:
    old, new = rolled_out(node)
    assert node.owners() == [new.uid]
    assert check(old) == (1, f"not in force: superseded: pod {new.uid} owns this node now\n")
    assert said(old, "superseded") == [f"superseded: pod {new.uid} owns this node now"]
    assert old.stop() == 0
    assert said(old, "stopped") == [f"the rules stay: they belong to pod {new.uid}"]
    assert check(new)[0] == 0
    assert node.owners() == [new.uid]
    # Somebody who comes and goes beside it is no damage.
    assert heals(new, node.lab) == 0
    assert "standby-" not in node.table()
    assert new.stop() == 0
    assert node.table() == ""


@pytest.mark.parametrize("values", [{}, KEEP], ids=["remove", "keep"])
def test_a_rollback_hands_the_node_back_without_a_gap(node: Node, values: dict[str, Any]) -> None:
    old, new = rolled_out(node, **values)
    with Flood(node.lab, rest=0.001) as flood:
        assert new.stop() == 0
        assert said(new, "stopped") == ["handed the rules over to the pod that stands by"]
        until(lambda: said(old, "taken-over"))
        assert check(old)[0] == 0
    assert (flood.lost, flood.leaked) == (0, 0)
    assert node.owners() == [old.uid]
    assert "other" not in "".join(node.policy())
    assert len(node.generations()) == 1


def test_a_new_pod_that_cannot_apply_never_claims(node: Node) -> None:
    old = node.start()
    policy = node.policy()
    new = node.pod(documents({"cluster": {"nodeCIDRs": ["192.0.2.0/24"]}}))
    new.start()
    until(lambda: said(new, "refused"))
    assert not new.ready()
    assert node.owners() == [old.uid]
    assert old.ready()
    assert new.stop() == 0
    assert said(new, "stopped") == [f"the rules stay: they belong to pod {old.uid}"]
    assert node.policy() == policy
    assert heals(old, node.lab) == 0


@pytest.mark.parametrize("before", ["nobody", "an old pod"])
def test_two_pods_at_the_same_moment(node: Node, before: str) -> None:
    """Exactly one of them owns the node afterwards, and the table is its policy, nothing else."""
    seed = random.Random(0)
    for _ in range(3):
        if before != "nobody":
            node.start().kill()
        pods = [node.pod(documents(ANOTHER_POLICY)), node.pod(documents(POLICY))]
        for pod in pods:
            pod.start()
            pod.signal(signal.SIGSTOP)
        for pod in pods:
            pod.signal(signal.SIGCONT)
            time.sleep(seed.random() / 50)
        until(
            lambda pods=pods: any(  # type: ignore[misc]
                said(pod, "superseded") for pod in pods
            )
        )
        (owner,) = (pod for pod in pods if not said(pod, "superseded"))
        assert check(owner)[0] == 0
        assert node.owners() == [owner.uid]
        assert len(node.generations()) == 1
        assert not [pod for pod in pods if said(pod, "bad-ruleset") or said(pod, "leftovers")]
        for pod in pods:
            pod.kill()
        node.nft("delete", "table", "inet", "udp_security")


def test_a_superseded_pod_removes_nothing_and_stays_so_when_its_container_restarts(
    node: Node,
) -> None:
    old, new = rolled_out(node)
    table = node.table()
    done = old.exec("remove")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"not removed: pod {new.uid} owns the rules ")
    assert node.table() == table
    assert check(new)[0] == 0
    old.restart_container()
    until(lambda: len(said(old, "superseded")) == 2)
    assert node.owners() == [new.uid]
    assert old.stop() == 0
    assert check(new)[0] == 0


def test_a_standby_protects_the_node_when_its_owner_and_the_rules_are_gone(node: Node) -> None:
    old = node.start(documents(poll=1))
    new = node.start(documents(ANOTHER_POLICY))
    until(lambda: standing_by(node, old))
    new.kill()
    node.nft("delete", "table", "inet", "udp_security")
    until(lambda: check(old)[0] == 0)
    assert node.owners() == [old.uid]


def test_a_claim_ends_with_the_boot_in_which_it_was_made(node: Node) -> None:
    pod = node.start()
    (state(pod, node.lab) / "claimed").write_text("another boot\n", encoding="ascii")
    pod.kill()
    node.nft("delete", "table", "inet", "udp_security")
    pod.start()
    pod.wait_ready()
    assert len(said(pod, "applied")) == 2
    assert pod.stop() == 0
    assert node.table() == ""


def test_remove_is_not_healed_and_may_be_repeated(node: Node) -> None:
    pod = node.start()
    done = pod.exec("remove")
    assert (done.returncode, done.stdout, done.stderr) == (0, "removed\n", "")
    assert node.table() == ""
    done = pod.exec("remove")
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing to remove\n", "")
    assert node.lab.probe("outsider", node.lab.address("node"), OTHER).delivered
    reason = "not in force: the rules were removed on request (delete this pod to have them back)\n"
    assert check(pod) == (1, reason)
    # A new container of the pod respects it as well, and a new pod does not.
    pod.restart_container()
    assert check(pod) == (1, reason)
    assert node.table() == ""
    assert pod.stop() == 0
    assert said(pod, "healed") == []
    assert said(pod, "stopped") == ["no rules to remove"]
    assert check(node.start())[0] == 0


def test_remove_wins_over_an_apply_at_the_same_moment(node: Node) -> None:
    for moment in (0.0, 0.1, 0.3):
        pod = node.start(documents(LARGE_POLICY))
        node.nft("add", "chain", "inet", "udp_security", "theirs")
        time.sleep(moment)
        assert pod.exec("remove").returncode == 0
        until(lambda: node.table() == "")
        assert not status(pod)["healthy"]
        assert pod.stop() == 0
        assert node.table() == ""


def test_rules_that_were_kept_are_taken_over(node: Node) -> None:
    old = node.start(documents({**POLICY, **KEEP}))
    policy = node.policy()
    assert old.stop() == 0
    assert said(old, "stopped") == ["the rules stay in force (linux.onStop: keep)"]
    assert node.policy() == policy
    assert not node.lab.probe("outsider", node.lab.address("node"), OTHER).delivered
    new = node.start(documents(ANOTHER_POLICY))
    assert node.owners() == [new.uid]
    assert len(node.generations()) == 1
    assert new.exec("remove").returncode == 0
    assert node.table() == ""


def test_two_rollouts_at_once_under_load(node: Node) -> None:
    """Of three policies within a second: the last one's pod owns the node in the end, or the one
    before, if it was slower; either is whole."""
    policies = [POLICY, ANOTHER_POLICY, {"rules": [*POLICY["rules"], *LARGE_POLICY["rules"]]}]
    first = node.start(documents(policies[0]))
    pods = [first]
    with Flood(node.lab, rest=0.001) as flood:
        for values in policies[1:]:
            pods.append(node.pod(documents(values)))
            pods[-1].start()
            time.sleep(0.3)
        until(lambda: all(said(pod, "applied") for pod in pods))
        until(lambda: [standing_by(node, pod) for pod in pods].count(True) == 2)
        (owner,) = (pod for pod in pods if not standing_by(node, pod))
        owner.wait_ready()
        # The pods of the older policies leave in any order.
        for pod in pods:
            if pod is not owner:
                assert pod.stop() == 0
    assert (flood.lost, flood.leaked) == (0, 0)
    assert (node.owners(), len(node.generations())) == ([owner.uid], 1)
    assert check(owner)[0] == 0


def test_surges_and_a_rollback_under_load(node: Node) -> None:
    """The old pod leaves while the new one is being healed, and the new one before it is ready."""
    pod = node.start()
    with Flood(node.lab, rest=0.001) as flood:
        for number in range(3):
            new = node.pod(documents(POLICY if number % 2 else ANOTHER_POLICY))
            new.start()
            until(lambda new=new: said(new, "applied"))  # type: ignore[misc]
            node.nft("add", "chain", "inet", "udp_security", "theirs")
            assert pod.stop() == 0
            pod = new
        pod.wait_ready()
        new = node.pod(documents(POLICY))
        new.start()
        # A rollback at any moment: before it has applied, or after.
        until(lambda: said(new, "started"))
        time.sleep(0.2)
        assert new.stop() == 0
        until(lambda: node.owners() == [pod.uid] and len(node.generations()) == 1)
        pod.wait_ready()
    assert (flood.lost, flood.leaked) == (0, 0)


def test_deleted_while_it_crash_loops(node: Node) -> None:
    """Its last container is told to end wherever it is, and leaves nothing."""
    before = node.nft("-s", "list", "ruleset")
    seed = random.Random(5)
    for _ in range(4):
        pod = node.pod()
        pod.start()
        for _ in range(3):
            time.sleep(seed.random() * 0.5)
            pod.kill()
            starts = len(said(pod, "started"))
            pod.start()
        until(lambda pod=pod, n=starts: len(said(pod, "started")) > n)  # type: ignore[misc]
        assert pod.stop() == 0
        assert node.nft("-s", "list", "ruleset") == before


def test_a_reboot_brings_the_policy_back(node: Node) -> None:
    """The kubelet starts the pods that were there: one that had been superseded may be first."""
    old, new = rolled_out(node)
    policy = node.policy()
    for pod in (old, new):
        pod.kill()
        # Its files outlive the boot, the kernel's rules do not.
        (state(pod, node.lab) / "claimed").write_text("another boot\n", encoding="ascii")
    for family in ("inet", "bridge"):
        node.nft("delete", "table", family, "udp_security", check=False)
    new.start()
    new.wait_ready()
    assert node.policy() == policy
    old.start()
    until(lambda: standing_by(node, old))
    assert (node.owners(), node.policy()) == ([new.uid], policy)
    assert check(new)[0] == 0


@pytest.mark.parametrize("on_stop", ["remove", "keep"])
def test_an_uninstall_leaves_what_there_was(node: Node, on_stop: str) -> None:
    """After everything that an agent does: all tables are as they were before, ours gone."""
    before = node.nft("-s", "list", "ruleset")
    old = node.start(documents({**POLICY, "linux": {"onStop": on_stop}}))
    node.nft("add", "chain", "inet", "udp_security", "theirs")
    until(lambda: heals(old, node.lab) == 1)
    new = node.start(documents({**ANOTHER_POLICY, "linux": {"onStop": on_stop}}))
    assert "table bridge udp_security" in node.nft("list", "ruleset")
    assert old.stop() == 0
    if on_stop == "keep":
        assert new.exec("remove").returncode == 0
    assert new.stop() == 0
    assert node.nft("-s", "list", "ruleset") == before
