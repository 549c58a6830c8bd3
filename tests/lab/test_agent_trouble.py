# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What an agent cannot work with: it says so once, with the remedy, and leaves the node alone."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator

import pytest
from tests.lab.agents import (
    ANOTHER_POLICY,
    POLICY,
    Documents,
    Node,
    agent_container,
    agent_pod_spec,
    check,
    config_data,
    documents,
    replace,
    said,
    state,
    status,
    until,
    with_files,
    with_ruleset,
)

from udp_security.lab import rootfs, syscalls
from udp_security.lab.pod import AgentPod


@pytest.fixture
def old(node: Node) -> AgentPod:
    """The pod that governs the node while another one is in trouble."""
    return node.start()


def refused(node: Node, old: AgentPod, pod: AgentPod, event: str) -> str:
    """What the pod says about its trouble, after everything that holds for every trouble."""
    (reason,) = until(lambda: said(pod, event))
    policy = node.policy()
    assert check(pod) == (1, f"not in force: {reason}\n")
    assert status(pod)["reason"] == reason
    assert check(old)[0] == 0
    # It tries again, and is silent about it. Its polls are short, and `check` looks twice, half a
    # second apart: a line would be there by now.
    assert len(said(pod, "started")) == 1
    assert pod.logs().count("\n") == 2
    assert pod.stop() == 0
    assert check(old)[0] == 0
    assert (node.owners(), node.policy()) == ([old.uid], policy)
    return reason


BROKEN: dict[str, Callable[[str], str]] = {
    "syntax": lambda text: text.replace("chain g0.input {", "chain g0.input { nonsense"),
    "unknown-chain": lambda text: text.replace("goto g0.ingress\n", "goto g0.nowhere\n"),
    "cut-off": lambda text: text[: text.index("# hooks: ")].rstrip().rstrip("}"),
    "bad-hooks": lambda text: text.rstrip() + "\nadd rule inet udp_security nowhere accept\n",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_ruleset_that_does_not_load(node: Node, old: AgentPod, broken: str) -> None:
    pod = node.pod(with_ruleset(ANOTHER_POLICY, BROKEN[broken]))
    pod.start()
    reason = refused(node, old, pod, "bad-ruleset")
    assert "the kernel refuses this policy; the kernel keeps the rules it has: " in reason
    assert "rror" in reason


def test_a_ruleset_that_does_not_load_on_a_fresh_node(node: Node) -> None:
    pod = node.pod(with_ruleset(POLICY, BROKEN["syntax"]))
    pod.start()
    until(lambda: said(pod, "bad-ruleset"))
    assert node.table() == ""
    assert check(pod)[0] == 1


def test_no_permission(node: Node, old: AgentPod) -> None:
    made = documents({**ANOTHER_POLICY, "linux": {"backend": "nftables"}})
    agent_container(made)["securityContext"]["capabilities"]["add"] = []
    pod = node.pod(made)
    pod.start()
    until(lambda: pod.logs().count("\n") == 2)
    done = pod.exec("remove")
    assert done.returncode == 1
    assert "not removed: " in done.stderr and "NET_ADMIN" in done.stderr
    assert "NET_ADMIN" in refused(node, old, pod, "not-applied")


def without(node: Node, *tools: str) -> AgentPod:
    """A pod whose image lacks these of the tools that are no applets of busybox."""
    made = documents({**ANOTHER_POLICY, "linux": {"backend": "nftables"}})
    agent_pod_spec(made)["volumes"].append({"name": "sbin", "emptyDir": {}})
    mount = {"name": "sbin", "mountPath": "/usr/sbin"}
    agent_container(made)["volumeMounts"].append(mount)
    pod = node.pod(made)
    for tool in (rootfs.build() / "usr/sbin").iterdir():
        if tool.name not in tools:
            target = state(pod, node.lab).parent / "sbin" / tool.name
            shutil.copy2(tool, target, follow_symlinks=False)
    return pod


def test_no_nft(node: Node, old: AgentPod) -> None:
    pod = without(node, "nft")
    pod.start()
    until(lambda: pod.logs().count("\n") == 2)
    done = pod.exec("remove")
    assert (done.returncode, "not removed: " in done.stderr) == (1, True)
    assert "linux.image" in refused(node, old, pod, "no-nft")


def test_no_iproute2(node: Node, old: AgentPod) -> None:
    """Enforce cannot know whether it would cut the node off."""
    pod = without(node, "ip")
    pod.start()
    assert "linux.image" in refused(node, old, pod, "refused")


def ended(pod: AgentPod, event: str) -> str:
    """What the pod says before it ends with an error."""
    pod.start()
    until(lambda: not pod.running)
    assert pod.exit_code == 2
    (reason,) = said(pod, event)
    assert pod.logs().count("\n") == 1
    return reason


def test_no_pod_uid(node: Node) -> None:
    pod = node.pod(documents(environment={"UDP_SECURITY_POD_UID": None}))
    assert "UDP_SECURITY_POD_UID is not set" in ended(pod, "bad-environment")
    assert node.table() == ""


def test_no_policy_hash(node: Node, old: AgentPod) -> None:
    pod = node.pod(documents(environment={"UDP_SECURITY_POLICY_SHA256": None}))
    pod.start()
    assert "UDP_SECURITY_POLICY_SHA256 is not set" in refused(node, old, pod, "bad-environment")


def test_a_state_directory_that_cannot_be_written(node: Node) -> None:
    made = documents()
    for mount in agent_container(made)["volumeMounts"]:
        if mount["name"] == "state":
            mount["readOnly"] = True
    assert "not a writable directory" in ended(node.pod(made), "no-state")
    assert node.table() == ""


def test_no_state_directory(node: Node) -> None:
    made = documents()
    mounts = agent_container(made)["volumeMounts"]
    mounts[:] = [mount for mount in mounts if mount["name"] != "state"]
    assert "not a writable directory" in ended(node.pod(made), "no-state")


@pytest.fixture
def small(node: Node) -> Iterator[list[str]]:
    """Directories to unmount."""
    mounted: list[str] = []
    yield mounted
    for directory in mounted:
        syscalls.umount(directory)


def pages(made: Documents) -> int:
    """How many pages of memory the pod's copy of its files takes."""
    return sum(math.ceil(len(text.encode()) / 4096) for text in config_data(made).values())


@pytest.mark.parametrize("more", range(-2, 14, 3))
def test_a_full_state_directory(node: Node, old: AgentPod, small: list[str], more: int) -> None:
    """With space for the policy and ``more`` pages: nothing half-written is ever loaded."""
    made = documents(ANOTHER_POLICY)
    pod = node.pod(made)
    directory = str(state(pod, node.lab))
    # The directory itself takes the first page, the reason the second.
    size = 4096 * (2 + pages(made) + more)
    syscalls.mount("tmpfs", directory, "tmpfs", 0, f"size={size},mode=777")
    small.append(directory)
    before = node.policy()
    pod.start()
    until(lambda: said(pod, "no-state") or said(pod, "applied"))
    if said(pod, "applied"):
        assert check(pod)[0] == 0
        assert "r.other" in "".join(node.policy())
        # Else it would be handed the rules.
        assert old.stop() == 0
        assert pod.stop() == 0
        assert node.table() == ""
    else:
        assert "is its emptyDir full?" in refused(node, old, pod, "no-state")
        assert node.policy() == before


def test_a_kernel_that_cannot_check_sources(node: Node) -> None:
    """The rest of the policy is in force, and what is missing is said."""

    def ask_too_much(data: dict[str, str]) -> None:
        rule = 'iifname "cni0" meta l4proto udp fib saddr'
        replace(data, "policy.nft", f"g0.input.guarded {rule}", f"g0.output {rule}")

    pod = node.start(with_files(POLICY, ask_too_much))
    assert "fib saddr" not in node.table() and "fib daddr" in node.table()
    code, said_so = check(pod)
    assert code == 0
    assert "not governed: source addresses that pods forge: " in said_so
    assert "Linux 5.19" in said_so
