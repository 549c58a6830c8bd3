# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The agent is killed at each call that changes the firewall: nothing opens, and its next container
brings the policy in force and leaves nothing else behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.windows.agents import CHANGES, Node
from tests.windows.faults import (
    DAMAGES,
    NEW,
    OLD,
    POLL,
    Fault,
    assert_closed,
    calls_after,
    calls_of_heal,
    contents,
    each_call,
    restored,
    tidy,
    wait_in_force,
)
from tests.windows.windows import FakeWindows, Record

Records = Sequence[Record]

KILLED: Final = 137


@pytest.fixture
def node(windows: FakeWindows, tmp_path: Path) -> Iterator[Node]:
    with Node(windows, tmp_path) as made:
        yield made


def apply_with(folder: Path, fault: Fault, wanted: list[str], rules: Records = ()) -> None:
    """On another computer, where a pod before may have left rules, a pod that applies NEW dies."""
    folder.mkdir()
    with Node(FakeWindows(folder), folder) as node:
        restored(node, rules)
        before = len(node.windows.changes())
        node.windows.set_faults(fault)
        pod = node.pod(NEW, poll_seconds=POLL)
        pod.start()
        assert pod.wait_end() == KILLED, fault
        pod.start()
        pod.wait_said("applied")
        assert (contents(node), node.owner()) == (wanted, pod.uid), fault
        assert_closed(node, before)


def test_at_the_first_apply(node: Node, tmp_path: Path) -> None:
    node.start(NEW).kill()
    for number, fault in enumerate(each_call(calls_after(node, 0), *CHANGES, exit=True)):
        apply_with(tmp_path / f"{number}", fault, contents(node))


def test_in_a_rollout(node: Node, tmp_path: Path) -> None:
    node.start(OLD).kill()
    old = node.ours()
    before = len(node.windows.calls())
    node.start(NEW).kill()
    for number, fault in enumerate(each_call(calls_after(node, before), *CHANGES, exit=True)):
        apply_with(tmp_path / f"{number}", fault, contents(node), old)


@pytest.mark.parametrize("damage", DAMAGES)
def test_in_a_heal(node: Node, damage: str) -> None:
    pod = node.start(NEW, poll_seconds=POLL)
    wanted = contents(node)
    faults = each_call(calls_of_heal(node, pod, damage), *CHANGES, exit=True)
    for fault in faults:
        before = len(node.windows.changes())
        node.windows.set_faults(fault)
        DAMAGES[damage](node)
        assert pod.wait_end() == KILLED, fault
        pod.start()
        wait_in_force(node, pod, wanted)
        assert_closed(node, before + 1)
        tidy(node, pod, damage)


def test_a_killed_removal_is_finished_by_the_agent(node: Node) -> None:
    pod = node.start(NEW)
    pod.kill()
    ours = node.ours()
    before = len(node.windows.calls())
    assert pod.command("Remove").stdout == "removed\n"
    for fault in each_call(calls_after(node, before), *CHANGES, exit=True):
        restored(node, ours)
        before = len(node.windows.changes())
        node.windows.set_faults(fault)
        assert pod.command("Remove").returncode == KILLED
        with pod:
            pod.start()
            pod.wait_for(lambda: node.ours() == [], str(fault))
        assert_closed(node, before)


def test_a_killed_hook_is_finished_by_the_next_one(node: Node) -> None:
    pod = node.start(NEW)
    pod.kill()
    ours = node.ours()
    before = len(node.windows.calls())
    assert pod.pre_stop() == "removed"
    for fault in each_call(calls_after(node, before), *CHANGES, exit=True):
        restored(node, ours)
        before = len(node.windows.changes())
        node.windows.set_faults(fault)
        assert pod.command("Remove", "-Stopping").returncode == KILLED
        assert pod.pre_stop() == "removed"
        assert node.ours() == []
        assert_closed(node, before)
