# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security disable`: nothing stays, or it is told where."""

from __future__ import annotations

import json
import subprocess

import pytest
from tests.cluster.cluster import NAMESPACE, Cluster
from tests.cluster.conftest import Run
from tests.k2s.artifact_places import MANIFESTS, ROOT, tool

from udp_security.cluster.removal import COMMANDS, Leftover, by_command


def test_nothing_is_left(cluster: Cluster, run: Run) -> None:
    run("enable")
    done = run("disable")
    assert done.exit_code == 0
    assert done.stdout == "udp-security is disabled: no UDP traffic is denied.\n"
    assert cluster.is_empty()


def test_again(cluster: Cluster, run: Run) -> None:
    done = run("disable")
    assert (done.exit_code, done.stdout) == (
        0,
        "udp-security is disabled already, nothing to do.\n",
    )
    assert json.loads(run("disable", "-o", "json").stdout) == {"changed": False, "left": []}


def test_a_node_that_is_off_is_named(cluster: Cluster, run: Run) -> None:
    run("enable")
    cluster.nodes["linux-b"].ready = False
    cluster.nodes["windows-a"].ready = False
    done = run("disable")
    assert done.exit_code == 0
    assert "did not clean up: linux-b. " in done.stdout
    assert f"run there: {COMMANDS['linux']}\n" in done.stdout
    assert "Remove-NetFirewallRule -Group udp-security" in done.stdout
    assert "linux-a" not in done.stdout
    assert cluster.objects("pods") == {}
    assert set(cluster.modes()) == {"linux-b", "windows-a"}


def test_a_pod_that_does_not_end_is_named(cluster: Cluster, run: Run) -> None:
    run("enable")
    cluster.nodes["linux-a"].sticky = True
    done = run("disable", "--timeout", "1", "-o", "json")
    assert done.exit_code == 0
    assert [each["node"] for each in json.loads(done.stdout)["left"]] == ["linux-a"]
    assert "Waiting for the agents on linux-a" in done.stderr
    assert NAMESPACE not in {n["metadata"]["name"] for n in cluster.store.list("namespaces")}


def test_agents_that_would_keep_their_rules_remove_them(cluster: Cluster, run: Run) -> None:
    run("enable", "--set", "linux.onStop=keep,windows.onStop=keep")
    cluster.nodes["linux-a"].deaf = True
    done = run("disable")
    assert cluster.modes() == {"linux-a": "enforce"}
    assert "did not clean up: linux-a. " in done.stdout
    assert "linux-b" not in done.stdout


def test_what_was_applied_without_helm(cluster: Cluster, run: Run) -> None:
    command = [tool("kubectl"), "apply", "-f", str(MANIFESTS), "--recursive"]
    subprocess.run([*command, "--server-side"], check=True, capture_output=True)
    cluster.wait_until(lambda: len(cluster.modes()) == 3)
    assert run("disable").exit_code == 0
    assert cluster.is_empty()


@pytest.mark.parametrize("what", ["secrets", "daemonsets", "namespaces"])
def test_it_can_be_run_again_after_a_failure(cluster: Cluster, run: Run, what: str) -> None:
    run("enable")
    cluster.server.fails = {("DELETE", what)}
    done = run("disable")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    cluster.server.fails = set()
    assert run("disable").exit_code == 0
    assert cluster.is_empty()


def test_a_long_command_is_told_once() -> None:
    left = [Leftover("a", "linux", "x"), Leftover("b", "windows", "y"), Leftover("c", "linux", "x")]
    assert by_command(left) == {"x": "a, c", "y": "b"}


def test_the_manual_has_the_same_command() -> None:
    text = (ROOT / "docs" / "k2s.md").read_text(encoding="utf-8")
    assert f"\n{COMMANDS['linux']}\n" in text
