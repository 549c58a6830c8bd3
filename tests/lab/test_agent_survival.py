# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Agents are killed, stopped and restarted at every moment: the node is governed or clean."""

from __future__ import annotations

import random
import signal
import time

import pytest
from tests.lab.agents import (
    ANOTHER_POLICY,
    LARGE_POLICY,
    POLICY,
    Node,
    check,
    documents,
    heals,
    said,
    until,
)


def test_a_killed_owner_leaves_its_rules_and_goes_on_with_them(node: Node) -> None:
    pod = node.start()
    table = node.table()
    pod.kill()
    assert node.table() == table
    pod.start()
    pod.wait_ready()
    assert node.table() == table
    assert len(said(pod, "applied")) == 1
    assert heals(pod, node.lab) == 0


def test_killed_at_any_moment_of_an_apply(node: Node) -> None:
    """Every pod takes the node over from the one before, is killed meanwhile, and starts again."""
    seed = random.Random(1)
    made = [documents(POLICY), documents(ANOTHER_POLICY)]
    policies: list[list[str]] = []
    for number in range(12):
        pod = node.pod(made[number % 2])
        pod.start()
        time.sleep(seed.random() * 0.35)
        pod.restart_container()
        # What the killed one may have left behind goes with the next look.
        until(lambda pod=pod: node.owners() == [pod.uid] and len(node.generations()) == 1)  # type: ignore[misc]
        pod.wait_ready()
        policies.append(node.policy())
        pod.kill()
    assert all(policy == policies[number % 2] for number, policy in enumerate(policies))


def test_restarts_leave_nothing_behind(node: Node) -> None:
    before = node.nft("-s", "list", "ruleset")
    pod = node.start()
    policy = node.policy()
    for number in range(12):
        if number % 4 == 3:
            # Whoever is told before it listens has to be killed.
            until(lambda pod=pod, n=number: len(said(pod, "started")) >= n % 4)  # type: ignore[misc]
            assert pod.stop() == 0
            assert node.table() == ""
            pod = node.pod()
            pod.start()
        else:
            pod.restart_container()
        if number % 2:
            pod.wait_ready()
            assert node.policy() == policy
            assert len(node.generations()) == 1
    pod.wait_ready()
    assert pod.stop() == 0
    assert node.nft("-s", "list", "ruleset") == before


def test_sigterm_during_an_apply(node: Node) -> None:
    """Of a large policy: the pod ends in time and leaves no part of it."""
    seed = random.Random(2)
    made = documents(LARGE_POLICY)
    for _ in range(6):
        pod = node.pod(made)
        pod.start()
        time.sleep(seed.random() * 0.8)
        began = time.monotonic()
        assert pod.stop() == 0
        assert time.monotonic() - began < 10
        assert node.table() == ""


def test_sigterm_ends_the_wait_at_once(node: Node) -> None:
    made = documents(poll=3600)
    for delay in (0.0, 0.002, 0.005, 0.01, 0.3):
        pod = node.pod(made)
        pod.start()
        until(lambda pod=pod: said(pod, "applied"))  # type: ignore[misc]
        time.sleep(delay)
        assert pod.stop(grace=5) == 0


@pytest.mark.parametrize(
    "order", ["new-then-old", "old-then-new", "both-at-once", "old-was-killed", "old-is-late"]
)
def test_an_uninstall_in_the_middle_of_a_rollout_leaves_nothing(node: Node, order: str) -> None:
    old = node.start(documents(poll=1))
    new = node.start(documents(ANOTHER_POLICY, poll=1))
    until(lambda: f"standby-{old.uid}" in node.table())
    if order == "old-was-killed":
        old.kill()
    if order == "old-is-late":
        # The new pod is gone before the old one is told: that looks like a rollback first.
        assert new.stop() == 0
        assert node.table() != ""
    pods = [old, new] if order == "old-then-new" else [new, old]
    for pod in pods:
        pod.signal(signal.SIGTERM)
        if order != "both-at-once":
            time.sleep(0.2)
    until(lambda: not (old.running or new.running))
    assert node.table() == ""
    for pod in pods:
        assert (pod.exit_code == 0) != (order == "old-was-killed" and pod is old)


def test_no_process_is_left_over(node: Node) -> None:
    """As PID 1 the agent has to bury whatever its own and foreign commands leave behind."""
    # Rarely, for busybox's `timeout` looks for its program's end only once a second.
    pod = node.start(documents(poll=5))
    for number in range(3):
        node.nft("add", "chain", "inet", "udp_security", "theirs")
        until(lambda number=number: heals(pod, node.lab) > number)  # type: ignore[misc]
        # Its shell ends before its child does, as when an exec probe times out.
        pod.run(["/bin/sh", "-c", "sleep 0.1 & exit"])
        assert check(pod)[0] == 0

    def processes() -> list[list[str]]:
        lines = pod.run(["ps", "-o", "pid,stat,args"]).stdout.splitlines()[1:]
        return [line.split(None, 2) for line in lines if "ps -o" not in line]

    # The agent, its sleep, and the monitor: nft, awk and the shell that waits for these.
    ours = ("/bin/sh", "sleep", "nft monitor", "awk", "{awk}")

    def only_the_agent() -> bool:
        found = processes()
        return (
            len(found) <= len(ours)
            and not [state for _, state, _ in found if state.startswith("Z")]
            and all(args.startswith(ours) for _, _, args in found)
        )

    until(only_the_agent)
