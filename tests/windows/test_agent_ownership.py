# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Who owns the node: claims, rollouts and rollbacks in every order, and who may remove rules."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.windows.agents import (
    ANOTHER_POLICY,
    CHANGES,
    LARGE,
    POLICY,
    REFUSED,
    Node,
)
from tests.windows.pod import FILES, Pod

REMOVED = "the rules were removed on request (delete this pod to have them back)"


def rolled_out(node: Node, **settings: Any) -> tuple[Pod, Pod]:
    """A pod, superseded and standing by, and the newer one that owns the node."""
    old = node.start(**settings)
    new = node.start(ANOTHER_POLICY, **settings)
    node.wait_standby(old)
    return old, new


def test_a_fresh_node_is_claimed_and_given_back(node: Node) -> None:
    pod = node.start()
    assert node.owner() == pod.uid
    assert node.rules()
    assert pod.stop() == "removed"
    assert not node.ours()


def test_surge_hands_the_node_to_the_new_pod(node: Node) -> None:
    old = node.start()
    with node.never_open(POLICY, ANOTHER_POLICY):
        new = node.start(ANOTHER_POLICY)
    node.wait_standby(old)
    superseded = f"superseded: pod {new.uid} owns this node now"
    assert old.said("superseded") == [superseded]
    assert old.check() == (False, f"not in force: {superseded}")
    assert node.owner() == new.uid
    rules = node.rules()
    assert old.stop() == f"the rules stay: they belong to pod {new.uid}"
    assert node.rules() == rules
    assert not node.standbys()
    assert new.check()[0]
    # Somebody who comes and goes beside it is no damage.
    assert new.status()["heals"] == 0
    assert not new.said("healed")
    assert new.stop() == "removed"
    assert not node.ours()


def test_a_superseded_pod_heals_nothing(node: Node) -> None:
    old, new = rolled_out(node)
    new.kill()
    node.windows.delete(node.rules()[0]["Name"])
    rules = node.rules()
    node.wait_looks(old, 3)
    assert node.rules() == rules
    assert (len(old.said("superseded")), old.said("healed")) == (1, [])


def test_the_old_pod_may_stop_first(node: Node) -> None:
    old = node.start()
    assert old.stop() == "removed"
    new = node.start(ANOTHER_POLICY)
    assert node.owner() == new.uid


@pytest.mark.parametrize("on_stop", ["remove", "keep"])
def test_a_rollback_hands_the_node_back_without_a_gap(node: Node, on_stop: str) -> None:
    old, new = rolled_out(node, on_stop=on_stop)
    with node.never_open(POLICY, ANOTHER_POLICY):
        assert new.stop() == "handed the rules over to the pod that stands by"
        old.wait_said("taken-over")
    assert (node.owner(), node.standbys()) == (old.uid, [])
    assert old.check()[0]
    assert len(node.rules()) == int(old.said("applied")[0].split("rules ")[1].split(",")[0])


def test_the_agent_lives_as_long_as_its_pre_stop_hook(node: Node) -> None:
    """A container ends with its first process, and whatever else runs in it with that."""
    _, new = rolled_out(node)
    new.pre_stop()
    assert new.running


def test_a_standby_that_died_holds_nobody_up(node: Node) -> None:
    old, new = rolled_out(node)
    old.kill()
    assert new.stop() == "removed"
    assert not node.ours()


def test_a_standby_protects_the_node_when_its_owner_and_the_rules_are_gone(node: Node) -> None:
    old, new = rolled_out(node, poll_seconds=1)
    new.kill()
    node.windows.delete_all()
    node.windows.add("theirs", Group="somebody", Protocol="UDP", LocalPort=["7"], Action="Allow")
    old.wait_said("taken-over")
    assert node.owner() == old.uid
    assert old.check()[0]


def test_a_new_pod_whose_policy_is_refused_never_claims(node: Node) -> None:
    old = node.start()
    changes = node.windows.changes()
    new = node.pod(REFUSED)
    new.start()
    (reason,) = new.wait_said("refused")
    assert "172.19.1.1" in reason and "192.0.2.0/24" in reason and "cluster.nodeCIDRs" in reason
    assert new.check() == (False, f"not in force: {reason}")
    assert node.owner() == old.uid
    assert old.check()[0]
    assert new.stop() == f"the rules stay: they belong to pod {old.uid}"
    assert node.windows.changes() == changes


def test_a_refused_pod_on_a_fresh_node_leaves_it_alone(node: Node) -> None:
    pod = node.pod(REFUSED)
    pod.start()
    pod.wait_said("refused")
    assert pod.stop() == "nothing to remove"
    assert not node.windows.calls(*CHANGES)


def test_a_restarted_container_recognises_its_rules(node: Node) -> None:
    pod = node.start()
    pod.kill()
    calls = node.windows.calls(*CHANGES)
    pod.start()
    node.wait_looks(pod, 1)
    assert pod.check()[0]
    assert node.windows.calls(*CHANGES) == calls
    assert (len(pod.said("started")), len(pod.said("applied")), pod.said("healed")) == (2, 1, [])


def test_a_superseded_pod_stays_so_when_its_container_restarts(node: Node) -> None:
    old, new = rolled_out(node)
    old.kill()
    old.start()
    old.wait_said("superseded", times=2)
    assert node.owner() == new.uid
    assert old.stop() == f"the rules stay: they belong to pod {new.uid}"
    assert new.check()[0]


def test_a_second_release_does_not_take_the_node_over(node: Node) -> None:
    first = node.start()
    rules = node.rules()
    second = node.pod(ANOTHER_POLICY, release="other/one")
    second.start()
    (reason,) = second.wait_said("other-release")
    assert "Helm release udp-security/udp-security guards this node" in reason
    assert first.uid in reason and "uninstall one of the two" in reason
    assert second.check() == (False, f"not in force: {reason}")
    assert first.check()[0]
    assert (node.owner(), node.rules()) == (first.uid, rules)
    # When the first one is uninstalled, the second one guards the node.
    assert first.stop() == "removed"
    second.wait_said("applied")
    assert second.check()[0]
    assert second.stop() == "removed"
    assert not node.ours()


def test_rules_that_were_kept_are_taken_over(node: Node) -> None:
    old = node.start(on_stop="keep")
    says = node.says()
    assert old.stop() == "the rules stay in force (windows.onStop: keep)"
    assert node.says() == says
    with node.never_open(POLICY, ANOTHER_POLICY):
        new = node.start(ANOTHER_POLICY)
    assert node.owner() == new.uid
    assert new.check()[0]
    assert new.command("Remove").returncode == 0
    assert not node.ours()


def test_remove_is_not_healed_and_may_be_repeated(node: Node) -> None:
    pod = node.start(poll_seconds=1)
    done = pod.command("Remove")
    assert (done.returncode, done.stdout, done.stderr) == (0, "removed\n", "")
    done = pod.command("Remove")
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing to remove\n", "")
    node.wait_looks(pod)
    assert not node.ours()
    assert pod.check() == (False, f"not in force: {REMOVED}")
    # A new container of the pod respects it as well, and a new pod does not.
    pod.kill()
    pod.start()
    node.wait_looks(pod)
    assert not node.ours()
    assert pod.stop() == "nothing to remove"
    assert pod.said("healed") == []
    assert node.start().check()[0]


def test_only_the_owner_removes(node: Node) -> None:
    old, new = rolled_out(node)
    rules = node.rules()
    done = old.command("Remove")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"not removed: pod {new.uid} owns the rules (")
    assert "Remove-NetFirewallRule -Group udp-security" in done.stdout
    assert node.rules() == rules
    # The refused request is forgotten: the pod still stands by.
    assert new.stop() == "handed the rules over to the pod that stands by"
    old.wait_said("taken-over")


def test_remove_by_hand_on_the_node(node: Node, tmp_path: Path) -> None:
    """Without a pod there is neither its environment nor its state."""
    node.start().kill()
    agent = shutil.copytree(FILES, tmp_path / "by-hand") / "Agent.ps1"
    for answer in ("removed\n", "nothing to remove\n"):
        done = node.windows.pwsh(["-File", agent, "-Command", "Remove"])
        assert (done.returncode, done.stdout, done.stderr) == (0, answer, "")
        assert not node.ours()


@pytest.mark.parametrize("written", [1, 30])
def test_a_pod_may_be_stopped_in_the_middle_of_its_first_pass(node: Node, written: int) -> None:
    pod = node.pod(LARGE)
    pod.start()
    pod.wait_for(lambda: len(node.rules()) >= written, "rules")
    assert pod.stop() == "removed"
    assert not node.ours()


def test_a_pod_that_never_finished_its_first_pass_leaves_nothing(node: Node) -> None:
    """Half a policy in force on a node that nobody governs any more would be a riddle."""
    node.windows.set_faults(
        *({"cmdlet": "New-NetFirewallRule", "call": n, "message": "no"} for n in range(3, 100))
    )
    pod = node.pod()
    pod.start()
    pod.wait_said("not-applied")
    assert node.rules() and node.owner() is None
    pod.stop()
    assert not node.ours()


def test_a_firewall_that_does_not_run_cannot_be_cleared(node: Node) -> None:
    pod = node.start()
    node.windows.stop("mpssvc")
    for words in (["Remove"], ["Remove", "-Stopping"]):
        done = pod.command(*words)
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout.startswith("not removed: ") and done.stdout.count("\n") == 1
    assert node.rules()
    node.windows.start("mpssvc")
    assert pod.stop() == "removed"
    assert not node.ours()


def test_two_pods_at_the_same_moment(node: Node) -> None:
    """Exactly one of them owns the node afterwards, and its policy is there, nothing else."""
    pods = [node.pod(POLICY), node.pod(ANOTHER_POLICY)]
    for pod in pods:
        pod.start()
    first = pods[0]
    first.wait_for(lambda: any(pod.said("superseded") for pod in pods), "one has lost")
    node.wait_looks(first, 1)
    (owner,) = (pod for pod in pods if not pod.said("superseded"))
    assert node.owner() == owner.uid
    assert owner.check()[0]
    (loser,) = (pod for pod in pods if pod is not owner)
    assert not loser.check()[0]


def test_a_pod_that_dies_while_it_changes_rules_holds_nobody_up(node: Node) -> None:
    node.windows.set_faults({"cmdlet": "New-NetFirewallRule", "call": 3, "exit": True})
    dead = node.pod()
    dead.start()
    assert dead.wait_end() == 137
    assert len(node.rules()) == 2
    node.windows.set_faults()
    new = node.pod(ANOTHER_POLICY)
    new.start()
    # Far less than the minute that it would wait for a living one.
    new.wait_said("applied", seconds=20)
    assert new.check()[0]
