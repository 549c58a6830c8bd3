# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""nft fails, hangs or is killed, or the agent is, at every step of all that the agent does.

What both policies deny never passes, what both allow is never lost, and the agent gets where it
was going by itself, which leaves one generation.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from tests.lab.agents import (
    ANOTHER_POLICY,
    OPEN,
    OTHER,
    POLICY,
    Documents,
    Node,
    check,
    config_data,
    documents,
    heals,
    hurry,
    replace,
    said,
    state,
    status,
    until,
    with_files,
)
from tests.lab.faults import FaultyPod, How, changes
from tests.lab.flood import Flood

from udp_security.lab.topology import Lab

NFT_SECONDS = 1  # instead of a minute


def made(number: int = 0) -> Documents:
    """Two policies in turn. The agent gets no second chance from its poll, hardly rests, and what
    failed it tries again after tenths of a second."""

    def hurried(data: dict[str, str]) -> None:
        replace(data, "nftables.sh", "\nNFT_SECONDS=60\n", f"\nNFT_SECONDS={NFT_SECONDS}\n")
        hurry(data)
        replace(data, "watch.sh", "_nap=$1;", "_nap=0.$1;")

    return with_files(ANOTHER_POLICY if number % 2 else POLICY, hurried, poll=3600)


def kills(calls: list[str]) -> list[tuple[int, How]]:
    """Where to kill the agent among these calls: at the first and the last one, and before and
    after each that changes something. Between those nothing changes that lasts."""
    found: set[tuple[int, How]] = {(1, "stops-before"), (len(calls), "stops-after")}
    for number, call in enumerate(calls, 1):
        if changes(call):
            found |= {(number, "stops-before"), (number, "stops-after")}
    assert len(found) > 2
    return sorted(found)


def failures(calls: list[str]) -> list[tuple[int, How]]:
    """Every failure worth trying in these calls: each may fail before it has done anything, and
    those that change something also after that."""
    found: list[tuple[int, How]] = []
    for number, call in enumerate(calls, 1):
        found.append((number, "fails"))
        if changes(call):
            found.append((number, "dies-after"))
    assert len(found) > len(calls) > 4
    return found


def settled(node: Node, faulty: FaultyPod, policy: list[str]) -> None:
    """Waits until the pod believes that its policy is in force, and it is, in one generation."""
    applied = state(faulty.pod, node.lab) / "applied"
    until(lambda: applied.exists() and node.owners() == [faulty.pod.uid])
    until(lambda: len(node.generations()) == 1 and node.policy() == policy)


def emptied(node: Node, *pods: FaultyPod) -> None:
    """Ends pods the short way."""
    for faulty in pods:
        faulty.pod.kill()
    for family in ("inet", "bridge"):
        node.nft("delete", "table", family, "udp_security", check=False)


def in_force(node: Node, number: int = 0) -> tuple[FaultyPod, list[str]]:
    """A pod whose policy is in force, and that policy."""
    faulty = FaultyPod(node, made(number))
    faulty.pod.start()
    until(lambda: said(faulty.pod, "applied"))
    return faulty, node.policy()


@dataclass(frozen=True)
class Usual:
    """What happens without a fault: the two policies, and nft's calls in what an agent does."""

    policies: tuple[list[str], list[str]]
    first_apply: list[str]
    heal: list[str]
    rollout: list[str]
    release: list[str]


@pytest.fixture(scope="module")
def usual(lab: Lab) -> Usual:
    """The calls are those of one run, without a fault, of all that the tests disturb."""
    with Node(lab) as node:
        alone, first = in_force(node)
        first_apply = alone.calls()
        alone.wait_idle()
        damage(node, alone)
        until(lambda: said(alone.pod, "healed"))
        heal = alone.calls()
        alone.wait_idle()
        alone.clear()
        assert alone.pod.stop() == 0
        release = alone.calls()
        in_force(node)
        new, second = in_force(node, 1)
        return Usual((first, second), first_apply, heal, new.calls(), release)


def damage(node: Node, faulty: FaultyPod, fault: tuple[int, How] | None = None) -> None:
    """Harmless damage, whose healing meets a fault."""
    faulty.set(*fault) if fault else faulty.clear()
    node.nft("add", "chain", "inet", "udp_security", "theirs")


# --- The agent is killed ---


def test_killed_at_every_step_of_a_first_apply(node: Node, usual: Usual) -> None:
    for fault in kills(usual.first_apply):
        faulty = FaultyPod(node, made())
        faulty.set(*fault)
        faulty.pod.start()
        faulty.kill_when_stopped()
        faulty.pod.start()
        settled(node, faulty, usual.policies[0])
        emptied(node, faulty)


def rollouts(node: Node, usual: Usual, faults: Iterable[tuple[int, How]], *, killed: bool) -> None:
    """A rollout for each fault, under load: from pod to pod, between two policies."""
    before, _ = in_force(node, 1)
    before.pod.kill()
    with Flood(node.lab, rest=0.002) as flood:
        for number, fault in enumerate(faults):
            faulty = FaultyPod(node, made(number))
            faulty.set(*fault)
            faulty.pod.start()
            if killed:
                faulty.kill_when_stopped()
                faulty.pod.start()
            settled(node, faulty, usual.policies[number % 2])
            faulty.pod.kill()
    assert (flood.lost, flood.leaked) == (0, 0)


def test_killed_at_every_step_of_a_rollout(node: Node, usual: Usual) -> None:
    """Each pod takes the node over from the one before, which was killed as well."""
    rollouts(node, usual, kills(usual.rollout), killed=True)


def test_killed_at_every_step_of_a_heal(node: Node, usual: Usual) -> None:
    faulty, policy = in_force(node)
    with Flood(node.lab, rest=0.002) as flood:
        for fault in kills(usual.heal):
            faulty.wait_idle()
            damage(node, faulty, fault)
            faulty.kill_when_stopped()
            faulty.pod.start()
            settled(node, faulty, policy)
    assert (flood.lost, flood.leaked) == (0, 0)


def test_killed_at_every_step_of_a_release(node: Node, usual: Usual) -> None:
    """The rules are all there or all gone; the next pod takes the node, and leaves nothing."""
    for fault in kills(usual.release):
        faulty, policy = in_force(node)
        faulty.wait_idle()
        faulty.set(*fault)
        faulty.pod.signal(15)
        faulty.kill_when_stopped()
        assert node.policy() in (policy, [])
        successor, policy = in_force(node)
        settled(node, successor, policy)
        emptied(node, successor)


# --- nft fails ---


def test_nft_fails_at_every_step_of_a_first_apply(node: Node, usual: Usual) -> None:
    for fault in failures(usual.first_apply):
        faulty = FaultyPod(node, made())
        faulty.set(*fault)
        faulty.pod.start()
        settled(node, faulty, usual.policies[0])
        emptied(node, faulty)


def test_nft_fails_at_every_step_of_a_rollout(node: Node, usual: Usual) -> None:
    rollouts(node, usual, failures(usual.rollout), killed=False)


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_nft_goes_wrong_at_every_step_of_a_heal(node: Node, usual: Usual, how: How) -> None:
    faulty, policy = in_force(node)
    slow = [(number, how) for number, call in enumerate(usual.heal, 1) if changes(call)]
    todo = failures(usual.heal) if how == "fails" else slow
    with Flood(node.lab, rest=0.002) as flood:
        for fault in todo:
            before = len(said(faulty.pod, "healed"))
            faulty.wait_idle()
            damage(node, faulty, fault)
            until(lambda before=before: len(said(faulty.pod, "healed")) > before)  # type: ignore[misc]
            settled(node, faulty, policy)
    assert (flood.lost, flood.leaked) == (0, 0)
    faulty.wait_idle()
    faulty.clear()
    assert check(faulty.pod)[0] == 0
    # A digest that could not be taken makes it heal once more. On a busy machine any fault may meet
    # the digest instead of the call it was meant for; none does more than that.
    assert len(todo) <= heals(faulty.pod, node.lab) <= 2 * len(todo)
    assert not said(faulty.pod, "leftovers")


def test_nft_fails_at_every_step_of_a_release(node: Node, usual: Usual) -> None:
    """A node must be clean after an uninstall."""
    for fault in failures(usual.release):
        faulty, _ = in_force(node)
        faulty.wait_idle()
        faulty.set(*fault)
        assert faulty.pod.stop() == 0
        assert node.table() == ""
        assert node.nft("list", "table", "bridge", "udp_security", check=False) == ""


def test_nft_fails_when_a_superseded_pod_leaves(node: Node, usual: Usual) -> None:
    """Not to know whose the rules are is no reason to remove them."""
    owner, policy = in_force(node, 1)
    for number in range(1, len(usual.release) + 1):
        emptied(node, owner)
        old, _ = in_force(node)
        owner, policy = in_force(node, 1)
        until(lambda old=old: f"standby-{old.pod.uid}" in node.table())  # type: ignore[misc]
        old.set(number, "fails")
        assert old.pod.stop() == 0
        assert node.owners() == [owner.pod.uid]
        assert node.policy() == policy
        assert said(old.pod, "stopped") == [f"the rules stay: they belong to pod {owner.pod.uid}"]
        if len(old.calls()) < number:
            break


def test_nft_fails_for_long(node: Node) -> None:
    """The rules stay as they are, the reason is told once, and all is well as soon as nft is."""
    old, policy = in_force(node)
    new = FaultyPod(node, made(1))
    with Flood(node.lab, rest=0.002) as flood:
        new.set(0, "fails")
        new.pod.start()
        (reason,) = until(lambda: said(new.pod, "no-backend"))
        assert "Cannot allocate memory" in reason
        old.wait_idle()
        damage(node, old, (0, "fails"))
        (reason,) = until(lambda: said(old.pod, "not-applied"))
        assert "Cannot allocate memory" in reason
        until(lambda: "Cannot allocate memory" in status(old.pod)["reason"])
        assert node.owners() == [old.pod.uid]
        old.clear()
        until(lambda: said(old.pod, "healed"))
        assert node.policy() == policy
        new.clear()
        until(lambda: said(new.pod, "applied"))
    assert (flood.lost, flood.leaked) == (0, 0)
    assert check(new.pod)[0] == 0
    assert len(said(old.pod, "not-applied")) == len(said(new.pod, "no-backend")) == 1


# --- The table or the policy cannot be used ---


@contextlib.contextmanager
def locked(node: Node) -> Iterator[None]:
    """Another process holds the table as its own (nftables' flag ``owner``): nobody else may change
    it."""
    holder = node.lab.ns("node").call(
        lambda: subprocess.Popen(["nft", "-i"], stdin=subprocess.PIPE, text=True)
    )
    assert holder.stdin
    try:
        holder.stdin.write("add table inet udp_security { flags owner; }\n")
        holder.stdin.flush()
        until(lambda: "flags owner" in node.table())
        yield
    finally:
        holder.stdin.close()
        holder.wait()


def test_a_locked_table(node: Node) -> None:
    pod = node.pod(documents(poll=0.5))
    with locked(node):
        pod.start()
        (reason,) = until(lambda: said(pod, "bad-ruleset"))
        assert "another program holds the table as its own" in reason
        assert check(pod) == (1, f"not in force: {reason}\n")
    pod.wait_ready()
    assert not node.lab.probe("outsider", node.lab.address("node"), OTHER).delivered
    assert node.lab.probe("outsider", node.lab.address("node"), OPEN).replied


def test_truncated_files_never_replace_a_policy(node: Node) -> None:
    old = node.start()
    policy = node.policy()
    whole = dict(config_data(documents(ANOTHER_POLICY)))
    pod = node.pod(documents(ANOTHER_POLICY, poll=0.1))
    damaged = [
        {**whole, name: text[: len(text) * part // 3]}
        for name, text in whole.items()
        if name.startswith("policy.")
        for part in range(3)
    ]
    pod.update_configmap(damaged[0])
    with Flood(node.lab, rest=0.002) as flood:
        pod.start()
        for number, data in enumerate(damaged):
            pod.update_configmap(data)
            until(lambda number=number: len(said(pod, "foreign-policy")) > number)  # type: ignore[misc]
        assert (node.owners(), node.policy()) == ([old.uid], policy)
        pod.update_configmap(whole)
        pod.wait_ready()
    assert (flood.lost, flood.leaked) == (0, 0)


def test_a_pods_own_copy_is_damaged(node: Node) -> None:
    """It is copied again, before anything of it is loaded."""
    pod = node.start()
    policy = node.policy()
    for number, name in enumerate(("policy.nft", "policy.facts", "nftables.sh"), 1):
        (state(pod, node.lab) / "policy" / name).write_text("", encoding="ascii")
        node.nft("add", "chain", "inet", "udp_security", "theirs")
        until(lambda number=number: heals(pod, node.lab) == number)  # type: ignore[misc]
        assert node.policy() == policy
    assert check(pod)[0] == 0


# --- Time and memory ---


def test_clock_jumps(node: Node) -> None:
    """Only log lines, `appliedAt` and metrics have the clock's time."""
    past, future = "1970-01-01T00:00:00Z", "2106-02-07T06:28:15Z"
    uses = 0

    def jumping(data: dict[str, str]) -> None:
        nonlocal uses
        for name, text in data.items():
            uses += text.count("$(date ")
            # By its path: some busyboxes prefer their own.
            data[name] = text.replace("$(date ", "$(/usr/sbin/date ")

    faulty = FaultyPod(node, with_files(POLICY, jumping))
    assert uses == 5
    faulty.tool(
        "date",
        f"#!/bin/sh\npast={past} future={future}\n"
        'case "$*" in *%s) past=0 future=4294967295 ;; esac\n'
        '[ $(($$ % 2)) = 0 ] && echo "$past" || echo "$future"\n',
    )
    faulty.pod.start()
    until(lambda: said(faulty.pod, "applied"))
    for number in range(4):
        node.nft("add", "chain", "inet", "udp_security", "theirs")
        until(lambda number=number: heals(faulty.pod, node.lab) > number)  # type: ignore[misc]
    assert check(faulty.pod)[0] == 0
    assert faulty.pod.stop() == 0
    assert node.table() == ""
    times = {line.split()[0] for line in faulty.pod.logs().splitlines()}
    assert times == {f"time={past}", f"time={future}"}
