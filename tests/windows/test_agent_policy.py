# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A pod keeps to the policy and the agent that it was made for, whatever it mounts or remembers."""

from __future__ import annotations

import pytest
from tests.windows.agents import ANOTHER_POLICY, CHANGES, Node
from tests.windows.pod import bundle_hash


def test_a_running_pod_takes_no_notice_of_a_changed_configmap(node: Node) -> None:
    """Neither of its policy nor of its agent: else an upgrade could make all old pods unready."""
    pod = node.start()
    says, generation = node.says(), pod.status()["generation"]
    later = dict(node.pod(ANOTHER_POLICY).files)
    later["Agent.psm1"] = b"throw 'another agent'\n"
    later["Firewall.psm1"] = b"throw 'another agent'\n"
    pod.mount(later)
    assert pod.check()[0]
    # What it heals it heals with its own copy.
    node.windows.delete(node.rules()[0]["Name"])
    pod.wait_said("healed")
    assert node.says() == says

    pod.kill()
    pod.start()
    node.wait_looks(pod, 1)
    node.windows.delete(node.rules()[0]["Name"])
    pod.wait_said("healed", times=2)
    assert node.says() == says
    assert pod.status()["generation"] == generation
    assert pod.said("foreign-policy") == []
    assert pod.stop() == "removed"


def test_a_new_pod_refuses_another_pods_policy(node: Node) -> None:
    old = node.start()
    calls = node.windows.calls(*CHANGES)
    pod = node.pod(poll_seconds=1)
    own = dict(pod.files)
    pod.mount(node.pod(ANOTHER_POLICY).files)
    pod.start()
    (reason,) = pod.wait_said("foreign-policy")
    assert bundle_hash(pod.config)[:12] in reason
    assert pod.environment["UDP_SECURITY_POLICY_SHA256"][:12] in reason
    assert "helm upgrade" in reason
    assert pod.check() == (False, f"not in force: {reason}")
    assert pod.status()["reason"] == reason
    assert node.windows.calls(*CHANGES) == calls
    assert old.check()[0]
    # It starts anew as soon as the files are its own.
    pod.mount(own)
    assert pod.wait_end() == 3
    (reason,) = pod.said("restarting")
    assert pod.check() == (False, f"not in force: {reason}")
    assert pod.status()["reason"] == reason
    assert node.windows.calls(*CHANGES) == calls
    pod.start()
    pod.wait_said("applied")
    assert (len(pod.said("foreign-policy")), node.owner()) == (1, pod.uid)
    assert pod.check()[0]


def test_what_was_mounted_for_another_pod_never_guards_the_node(node: Node) -> None:
    """The mount changes when all of the other agent is loaded, and has not looked yet."""
    pod = node.pod()
    own, switched = dict(pod.files), pod.root / "switched"
    wait = f"""
[System.IO.File]::WriteAllText('{pod.root / "loaded"}', '')
while (-not (Test-Path '{switched}')) {{ Start-Sleep -Milliseconds 50 }}
function Invoke-Agent"""
    agent = own["Agent.psm1"].decode().replace("\nfunction Invoke-Agent", wait, 1)
    compiler = own["Compile.psm1"].replace(b"-ne 'enforce'", b"-ne 'nothing'")
    assert wait in agent and compiler != own["Compile.psm1"]
    pod.mount({"Agent.psm1": agent.encode(), "Compile.psm1": compiler})
    pod.start()
    pod.wait_for((pod.root / "loaded").exists, "an agent that is loaded")
    pod.mount(own)
    switched.touch()
    assert pod.wait_end() == 3
    assert len(pod.said("restarting")) == 1
    assert not node.windows.calls(*CHANGES)
    pod.start()
    pod.wait_said("applied")
    assert node.rules() and pod.check()[0]


def test_a_pod_that_ends_does_not_start_anew(node: Node) -> None:
    """Its hook runs in the container, and would be cut off."""
    pod = node.pod(poll_seconds=0.2)
    own = dict(pod.files)
    pod.mount(node.pod(ANOTHER_POLICY).files)
    pod.start()
    pod.wait_said("foreign-policy")
    assert pod.pre_stop() == "nothing to remove"
    pod.mount(own)
    pod.wait_said("stopped")
    assert pod.running and not node.ours()


def test_files_that_are_not_whole_are_refused(node: Node) -> None:
    pod = node.pod(poll_seconds=0.5)
    whole = pod.files["policy.json"]
    damaged = (
        b"",
        whole[: len(whole) // 2],
        whole + b"\n",
        whole.replace(b"enforce", b"audit"),
    )
    for times, content in enumerate(damaged, 1):
        pod.mount({"policy.json": content})
        if times == 1:
            pod.start()
        # Each has a hash of its own, and so a message of its own.
        pod.wait_said("foreign-policy", times=times)
    assert pod.stop() == "nothing to remove"
    assert not node.windows.calls(*CHANGES)


@pytest.mark.parametrize("text", ["", '{"mode": "enforce"}'], ids=["empty", "poor"])
def test_a_policy_that_is_none(node: Node, text: str) -> None:
    """The chart makes no such policy; its hash is right all the same. It is refused for good."""
    old = node.start()
    says = node.says()
    pod = node.pod(poll_seconds=0.5)
    pod.mount({"policy.json": text.encode()})
    pod.environment["UDP_SECURITY_POLICY_SHA256"] = bundle_hash(pod.config)
    pod.start()
    pod.wait_for(lambda: pod.log.count("\n") >= 2, "what is wrong")
    told = pod.status()["reason"]
    assert "policy.json" in told
    # Each pass ends with a look at the event log.
    ended = [call for call in node.windows.calls("Get-WinEvent") if call["pid"] == pod.pid]
    pod.wait_for(
        lambda: (
            pod.log.count("\n") > 2
            or sum(call["pid"] == pod.pid for call in node.windows.calls("Get-WinEvent"))
            > len(ended) + 2
        ),
        "further passes",
    )
    # Said once, whatever it tries at the next pass.
    assert pod.log.count("\n") == 2
    ready, said = pod.check()
    assert not ready and "policy.json" in said
    assert old.check()[0]
    assert node.says() == says


def test_an_own_copy_that_was_lost_does_not_open_the_node(node: Node) -> None:
    """As after a power failure: the file is there, and empty."""
    pod = node.start()
    says = node.says()
    pod.kill()
    (pod.state / "adopted" / "policy.json").write_bytes(b"")
    pod.start()
    pod.wait_for(lambda: pod.log.count("\n") >= 3, "what is wrong")
    ready, said = pod.check()
    # Mended from the ConfigMap, which is still its own, or not: the rules stay, and Check is right.
    assert ready or "policy.json" in said
    assert node.says() == says


@pytest.mark.parametrize("content", [b"", b"\0" * 100], ids=["empty", "zeros"])
def test_a_damaged_memory_does_not_stop_it_from_guarding(node: Node, content: bytes) -> None:
    """As after a power failure. A pod that knows nothing any more claims the node as a new one."""
    pod = node.start()
    says = node.says()
    pod.kill()
    node.windows.delete(node.rules()[0]["Name"])
    (pod.state / "state.json").write_bytes(content)
    pod.start()
    pod.wait_for(lambda: node.says() == says, "rules", seconds=15)
    assert pod.check()[0]


def test_a_memory_that_cannot_be_written_does_not_stop_it_from_guarding(node: Node) -> None:
    pod = node.pod()
    (pod.state / "state.json.new").mkdir()
    pod.start()
    (told, *_) = pod.wait_said("no-state")
    assert "is its emptyDir full?" in told
    pod.wait_said("applied")
    says = node.says()
    node.windows.delete(node.rules()[0]["Name"])
    pod.wait_for(lambda: node.says() == says, "rules", seconds=15)
    assert len(pod.said("no-state")) == 1
    ready, said = pod.check()
    assert ready or str(pod.state) in said


def test_a_pod_without_memory_does_not_take_the_node_back(node: Node) -> None:
    """Else two pods of a rollout would take it from each other for as long as both live."""
    old = node.pod(poll_seconds=1)
    (old.state / "state.json.new").mkdir()
    old.start()
    old.wait_said("applied")
    new = node.start(ANOTHER_POLICY, poll_seconds=1)
    node.wait_looks(old, 3)
    assert node.owner() == new.uid
    assert len(old.said("applied")) == 1
    assert new.said("superseded") == []


def test_a_policy_that_cannot_be_copied(node: Node) -> None:
    pod = node.pod()
    (pod.state / "adopted.new").write_bytes(b"")
    (pod.state / "adopted").write_bytes(b"")
    pod.start()
    pod.wait_for(lambda: pod.log.count("\n") >= 2, "what is wrong")
    ready, said = pod.check()
    assert not ready
    assert str(pod.state) in said
    assert not node.windows.calls(*CHANGES)


@pytest.mark.parametrize(
    "variable", ["UDP_SECURITY_POD_UID", "UDP_SECURITY_RELEASE", "UDP_SECURITY_POLICY_SHA256"]
)
def test_an_environment_that_the_chart_does_not_make(node: Node, variable: str) -> None:
    pod = node.pod()
    del pod.environment[variable]
    pod.start()
    assert pod.wait_end() == 2
    (reason,) = pod.said("bad-environment")
    assert variable in reason
    assert pod.log.count("\n") == 1
    assert not node.windows.calls(*CHANGES)


@pytest.mark.parametrize("words", [("Bogus",), ("",), ("Run", "-Bogus"), ("Check", "more")])
def test_usage_errors(node: Node, words: tuple[str, ...]) -> None:
    done = node.pod().command(*words)
    assert done.returncode != 0
    assert (done.stdout, bool(done.stderr)) == ("", True)
    assert not node.windows.calls()


def test_the_mounted_agent_and_the_pods_own_copy_are_the_same_commands(node: Node) -> None:
    pod = node.start()
    own = str(pod.state / "adopted" / "Agent.ps1")
    for words in (["Check"], ["Remove"]):
        done = node.windows.pwsh(["-File", own, "-Command", *words], env=pod.environment)
        assert (done.returncode, done.stderr) == (0, "")
    assert not node.ours()
    done = pod.command("Check")
    assert done.returncode == 1
    assert done.stdout.startswith("not in force: the rules were removed on request")
