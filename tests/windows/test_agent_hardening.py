# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What other processes of the computer may do to the agent."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from tests.windows.agents import ANOTHER_POLICY, CHANGES, GROUP, OWNER_MARK, REFUSED, Node
from tests.windows.pod import bundle_hash
from tests.windows.windows import FakeWindows

from udp_security.windows import pwsh as powershell

# The agents of all tests that run at this time share the one of the product.
_MUTEX = "Global\\udp-security-squatted"
_SQUAT = f"""
$mutex = New-Object System.Threading.Mutex($false, '{_MUTEX}')
$null = $mutex.WaitOne()
[Console]::Out.WriteLine('held')
$null = [Console]::In.ReadLine()
$mutex.ReleaseMutex()
"""


def test_a_process_that_holds_the_mutex_delays_only(node: Node, pwsh: str) -> None:
    squatter = subprocess.Popen(
        [pwsh, "-NoProfile", "-NonInteractive", "-Command", _SQUAT],
        env=powershell.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert squatter.stdout is not None
        assert squatter.stdout.readline() == "held\n"
        pod = node.pod()
        common = pod.files["Common.psm1"]
        assert b"Global\\udp-security" in common
        pod.mount({"Common.psm1": common.replace(b"Global\\udp-security", _MUTEX.encode())})
        pod.environment["UDP_SECURITY_POLICY_SHA256"] = bundle_hash(pod.config)
        pod.start()
        pod.wait_said("applied", seconds=60)
        (warning,) = pod.said("not-alone")
        assert _MUTEX in warning
    finally:
        squatter.communicate("\n")
    assert pod.check()[0]


def test_a_rule_of_somebody_else_with_the_name_of_the_mark(node: Node) -> None:
    node.windows.add(OWNER_MARK, Group="somebody", Protocol="UDP", LocalPort=["9"])
    pod = node.pod(poll_seconds=1)
    pod.start()
    (reason,) = pod.wait_said("not-applied")
    assert f"Remove-NetFirewallRule -Name {OWNER_MARK}" in reason
    assert pod.check() == (False, f"not in force: {reason}")
    node.windows.delete(OWNER_MARK)
    pod.wait_said("applied")
    assert pod.check()[0]


@pytest.mark.parametrize("file", ["policy.json", "Node.psm1"])
def test_a_copy_that_somebody_changed_is_not_used(node: Node, file: str) -> None:
    pod = node.start()
    says = node.says()
    pod.kill()
    copy = pod.state / "adopted" / file
    copy.write_text(copy.read_text().replace('"enforce"', '"audit"') + "\n", encoding="utf-8")
    ready, said = pod.check()
    assert not ready and "adopted holds policy" in said
    pod.start()
    pod.wait_for(lambda: copy.exists() and copy.read_bytes() == pod.files[file], "copied again")
    pod.wait_for(lambda: pod.check()[0], "in force")
    assert node.says() == says
    assert len(pod.said("applied")) == 1


def test_a_rules_name_is_no_pattern(windows: FakeWindows, tmp_path: Path) -> None:
    """The cmdlets take names for patterns, and an administrator may give any."""
    windows.add_many(
        {"Name": name, "Group": "somebody"} for name in ("dns-1", "our c", "backtick", "a")
    )
    strays = ["*", "dns-*", "our [copy]", "back`tick", "`*", "?", "[a-z]", "50%_"]
    ours = [{"Name": name, "Group": GROUP, "Protocol": "UDP"} for name in strays]
    with Node(windows, tmp_path) as node:
        before = windows.records()
        pod = node.start()
        windows.add_many(ours)
        pod.wait_said("healed")
        assert not {record["Name"] for record in node.ours()} & set(strays)
        assert [record for record in windows.records() if record["Group"] != GROUP] == before
        windows.add_many(ours)
        assert pod.stop() == "removed"
        assert windows.records() == before


def test_a_pod_that_never_owned_the_node_removes_nothing_when_the_mark_is_gone(node: Node) -> None:
    owner = node.start()
    rules = node.rules()
    refused = node.pod(REFUSED)
    refused.start()
    refused.wait_said("refused")
    owner.kill()
    node.windows.delete(OWNER_MARK)
    assert refused.stop() == "the rules stay: this pod never owned them"
    assert node.rules() == rules


def test_a_pod_without_a_uid_removes_nothing_at_its_end(node: Node) -> None:
    node.start()
    rules = node.rules()
    stranger = node.pod(ANOTHER_POLICY)
    stranger.environment["UDP_SECURITY_POD_UID"] = ""
    done = stranger.command("Remove", "-Stopping")
    assert done.returncode == 1 and "UDP_SECURITY_POD_UID" in done.stdout
    assert node.rules() == rules


def test_a_storm_of_foreign_changes_is_no_storm_of_looks(node: Node) -> None:
    pod = node.start()
    before = node.looks(pod)
    for number in range(12):
        node.windows.add(f"foreign-{number}", Group="theirs")
        time.sleep(1)
        node.windows.delete(f"foreign-{number}")
    # Twelve seconds have room for two looks, with up to two calls each.
    assert 0 < node.looks(pod) - before <= 4
    calls = node.windows.calls(*CHANGES)
    assert all(call["pid"] == pod.pid for call in calls)
