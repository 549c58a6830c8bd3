# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Every call of a cmdlet that looks at or changes the firewall fails once: nothing opens, the log
says why, and at the next pass the policy is in force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.windows.agents import CHANGES, Node
from tests.windows.faults import (
    DAMAGES,
    NEW,
    OLD,
    POLL,
    Fault,
    assert_closed,
    assert_said_once,
    calls_after,
    calls_of_heal,
    contents,
    each_call,
    restored,
    tidy,
    wait_in_force,
)
from tests.windows.windows import FakeWindows


@pytest.fixture
def node(windows: FakeWindows, tmp_path: Path) -> Iterator[Node]:
    with Node(windows, tmp_path) as made:
        yield made


def fresh(folder: Path, number: int) -> Node:
    """Another computer."""
    directory = folder / f"node-{number}"
    directory.mkdir()
    return Node(FakeWindows(directory), directory)


def apply_with(node: Node, fault: Fault, wanted: list[str]) -> None:
    """A pod that applies NEW meets a fault, and has its way all the same."""
    before = len(node.windows.changes())
    node.windows.set_faults(fault)
    with node.start(NEW, poll_seconds=POLL) as pod:
        assert_said_once(pod, fault)
        assert (contents(node), node.owner()) == (wanted, pod.uid), fault
        assert_closed(node, before)


def test_the_first_apply(node: Node, tmp_path: Path) -> None:
    node.start(NEW).kill()
    for number, fault in enumerate(each_call(calls_after(node, 0))):
        with fresh(tmp_path, number) as other:
            apply_with(other, fault, contents(node))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_heal(node: Node, damage: str) -> None:
    pod = node.start(NEW, poll_seconds=POLL)
    wanted = contents(node)
    for fault in each_call(calls_of_heal(node, pod, damage)):
        before = len(node.windows.changes())
        node.windows.set_faults(fault)
        DAMAGES[damage](node)
        pod.wait_log(fault["message"])
        wait_in_force(node, pod, wanted)
        assert_said_once(pod, fault)
        assert_closed(node, before + 1)
        tidy(node, pod, damage)


def test_a_rollout(node: Node, tmp_path: Path) -> None:
    node.start(OLD).kill()
    old = node.ours()
    before = len(node.windows.calls())
    node.start(NEW).kill()
    # It looks before as any heal does: that it cannot is tested there.
    faults = each_call(calls_after(node, before), *CHANGES, "Get-NetFirewallRule")
    for number, fault in enumerate(faults):
        with fresh(tmp_path, number) as other:
            restored(other, old)
            apply_with(other, fault, contents(node))


def test_the_hook_that_ends_a_pod(node: Node) -> None:
    pod = node.start(NEW)
    pod.kill()
    ours = node.ours()
    before = len(node.windows.calls())
    assert pod.pre_stop() == "removed"
    faults = each_call(calls_after(node, before))
    restored(node, ours)
    before = len(node.windows.changes())
    for fault in faults:
        node.windows.set_faults({**fault, "call": 1})
        done = pod.command("Remove", "-Stopping")
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout == f"not removed: {fault['message']} (run this again)\n"
        assert_closed(node, before)
    node.windows.set_faults()
    assert pod.pre_stop() == "removed"
    assert node.ours() == []
    assert_closed(node, before)


def test_a_removal_that_fails_is_healed(node: Node) -> None:
    """Whoever asked for it reads that it failed, and the node is guarded again."""
    pod = node.start(NEW)
    wanted = contents(node)
    pod.kill()
    ours = node.ours()
    before = len(node.windows.calls())
    assert pod.command("Remove").stdout == "removed\n"
    faults = each_call(calls_after(node, before), *CHANGES)
    restored(node, ours)
    for fault in faults:
        node.windows.set_faults(fault)
        done = pod.command("Remove")
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout == f"not removed: {fault['message']} (run this again)\n"
        # If it ran meanwhile, it might be the one that meets the fault.
        with pod:
            pod.start()
            wait_in_force(node, pod, wanted)


@pytest.mark.parametrize(
    "cmdlet",
    [
        "New-NetFirewallRule",
        "Remove-NetFirewallRule",
        "Get-NetFirewallRule",
        "Get-NetFirewallProfile",
        "Get-Service",
    ],
)
def test_check_says_what_keeps_failing(node: Node, cmdlet: str) -> None:
    pod = node.start(NEW, poll_seconds=POLL)
    fault = {"cmdlet": cmdlet, "message": "The moon is full."}
    node.windows.set_faults(*({**fault, "call": call} for call in range(1, 2000)))
    DAMAGES["edited-block"](node)
    pod.wait_log(fault["message"])
    ready, line = pod.check()
    assert not ready
    assert line.startswith("not in force: ") and fault["message"] in line
    assert_said_once(pod, fault)
    node.windows.set_faults()
    pod.wait_said("healed")


def test_check_says_why_a_rollout_does_not_end(node: Node) -> None:
    node.start(OLD).kill()
    fault = {"cmdlet": "Set-NetFirewallRule", "message": "The moon is full."}
    node.windows.set_faults(*({**fault, "call": call} for call in range(1, 2000)))
    pod = node.pod(NEW, poll_seconds=POLL)
    pod.start()
    pod.wait_said("not-applied")
    ready, line = pod.check()
    assert not ready
    assert line.startswith("not in force: ") and fault["message"] in line
    node.windows.set_faults()
    pod.wait_said("applied")
    assert pod.check()[0]
