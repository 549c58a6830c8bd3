# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The chart as plain users install it, with the real Helm of both majors and the real kubectl."""

from __future__ import annotations

import os
import subprocess

import pytest
from tests.cluster.cluster import NAMESPACE, Cluster
from tests.cluster.conftest import Run
from tests.k2s.artifact_places import CHART, lacking, tool

ADDRESSES = (
    "cluster.podCIDRs={10.244.0.0/16},cluster.serviceCIDRs={10.96.0.0/12},"
    "cluster.nodeCIDRs={10.9.0.0/16}"
)


@pytest.fixture(params=["PATH", "UDP_SECURITY_HELM3"])
def any_helm(request: pytest.FixtureRequest) -> str:
    """The Helm on PATH, and the oldest that is supported."""
    if request.param == "PATH":
        return tool("helm")
    return os.environ.get(request.param) or lacking(f"${request.param} names no Helm 3")


def call(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def test_install_upgrade_rollback_uninstall(cluster: Cluster, any_helm: str) -> None:
    where = ("udp-security", "-n", NAMESPACE)
    said = call(any_helm, "install", *where, str(CHART), "--create-namespace", "--set", ADDRESSES)
    assert "ENFORCE this policy" in said
    cluster.wait_until(lambda: cluster.modes() == dict.fromkeys(cluster.nodes, "enforce"))
    first = cluster.objects("configmaps")["udp-security-linux"]["data"]
    spec = cluster.objects("daemonsets")["udp-security-linux"]["spec"]

    options = ("--reuse-values", "--set", "mode=audit,linux.podLabels.a=b")
    call(any_helm, "upgrade", *where, str(CHART), *options)
    cluster.wait_until(lambda: cluster.modes() == dict.fromkeys(cluster.nodes, "audit"))
    changed = cluster.objects("daemonsets")["udp-security-linux"]["spec"]["template"]["metadata"]
    assert changed["labels"]["a"] == "b"

    call(any_helm, "rollback", *where)
    cluster.wait_until(lambda: cluster.modes() == dict.fromkeys(cluster.nodes, "enforce"))
    assert cluster.objects("configmaps")["udp-security-linux"]["data"] == first
    assert cluster.objects("daemonsets")["udp-security-linux"]["spec"] == spec
    assert call(any_helm, "history", *where).count("udp-security-0.1.0") == 3

    call(any_helm, "uninstall", *where)
    cluster.wait_until(lambda: not cluster.modes())
    assert cluster.objects("daemonsets") == cluster.objects("secrets") == {}


def test_our_commands_with_each_helm(
    cluster: Cluster, run: Run, any_helm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cluster.kubeconfig.parent / "bin"
    folder.mkdir()
    (folder / "helm").symlink_to(any_helm)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    assert run("enable", "--mode", "audit").exit_code == 0
    policy = cluster.policy()
    cluster.nodes["linux-b"].cut = True
    assert run("enable", "--mode", "enforce").exit_code == 1
    assert cluster.policy() == policy
    assert run("disable").exit_code == 0
    assert cluster.is_empty()


def test_a_release_of_plain_helm_is_taken_on(cluster: Cluster, run: Run, any_helm: str) -> None:
    where = ("udp-security", "-n", NAMESPACE, str(CHART), "--create-namespace")
    call(any_helm, "install", *where, "--set", f"{ADDRESSES},mode=audit")
    cluster.wait_until(lambda: len(cluster.modes()) == 3)
    done = run("enable", "--mode", "enforce")
    assert done.exit_code == 0, done.stderr
    assert "revision 2, mode enforce" in done.stdout


def test_what_the_notes_tell_works(cluster: Cluster, run: Run) -> None:
    kubectl = tool("kubectl")
    run("enable")
    rollout = (kubectl, "-n", NAMESPACE, "rollout", "status", "daemonset/udp-security-linux")
    assert "successfully rolled out" in call(*rollout, "--timeout=10s")
    pod = next(name for name in cluster.objects("pods") if "linux" in name)
    agent = ("--", "sh", "/etc/udp-security/agent.sh", "check")
    assert "in force" in call(kubectl, "-n", NAMESPACE, "exec", pod, *agent)
