# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Enabling that fails brings the state before back: nothing, or the policy that was in force."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.k2s.cli import ERROR, Cli, Outcome
from tests.k2s.cluster import Cluster, Node
from tests.k2s.host import Call, Host
from tests.k2s.tree import K2s

from udp_security.cluster.removal import COMMANDS


def failed(outcome: Outcome, *words: str) -> bool:
    """Whether it is an error of Enable.ps1's that says so."""
    assert (outcome.code, outcome.severity, outcome.id) == (1, ERROR, "addon-enable-failed")
    assert all(word in outcome.error for word in words), outcome.error
    return True


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("words", ["kubectl apply", "helm upgrade"])
def test_a_program_fails(k2s: K2s, host: Host, cli: Cli, words: str, done: bool) -> None:
    host.fail(words, "Error: connection refused", done=done)
    assert failed(cli.enable(), "connection refused")
    assert k2s.nothing_left()


@pytest.mark.parametrize(
    "words",
    [
        "helm history",
        "helm show",
        "kubectl get nodes",
        "kubectl rollout status",
    ],
)
def test_a_question_is_not_answered(k2s: K2s, host: Host, cli: Cli, words: str) -> None:
    host.fail(words, "Unable to connect to the server: EOF")
    assert failed(cli.enable(), "EOF")
    assert k2s.nothing_left()


@pytest.mark.parametrize("function", ["Copy-ScriptsToHooksDir", "Add-AddonToSetupJson"])
def test_k2s_itself_fails(k2s: K2s, host: Host, cli: Cli, function: str) -> None:
    host.fail(function, "Access to the path is denied.")
    outcome = cli.enable()
    assert failed(outcome, "Access to the path is denied.")
    assert ".." not in outcome.error
    assert k2s.nothing_left()


@pytest.mark.parametrize("name", ["kubemaster", "winhost"])
def test_an_agent_refuses(k2s: K2s, cluster: Cluster, cli: Cli, name: str) -> None:
    cluster.node(name).refuses = "the pod bridge is not in cluster.podCIDRs"
    outcome = cli.enable()
    assert failed(outcome, name, "the pod bridge is not in cluster.podCIDRs")
    assert k2s.nothing_left()


def test_the_rollout_takes_too_long(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    cluster.node("winhost").takes = 100
    outcome = cli.enable({"timeout": 10})
    assert failed(outcome, "udp-security-windows", "timed out")
    assert "; ." not in outcome.error
    assert k2s.nothing_left()


def test_more_reasons_than_k2s_can_take(k2s: K2s, cluster: Cluster, host: Host, cli: Cli) -> None:
    """The first ones and the end of it; the log has them all."""
    for number in range(200):
        node = Node(f"worker-{number}", "linux", f"172.19.1.{number + 2}", "172.20.9.0/24")
        node.refuses = hashlib.sha256(str(number).encode()).hexdigest() * 2
        cluster.nodes.append(node)
    outcome = cli.enable({"timeout": 10})
    assert failed(outcome, "worker-0: ", "more lines (see the log)", "Everything was taken back")
    assert "worker-199: " not in outcome.error
    assert any("worker-199: " in line for line in host.logged())
    assert k2s.nothing_left()


def test_no_agent_exists_yet(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    """A node that is off, so no rollout is waited for; and a controller that takes its time."""
    off = Node("worker", "linux", "172.19.1.7", "172.20.7.0/24", ready=False)
    cluster.nodes.append(off)
    cluster.late = {"udp-security-linux": 3}
    assert cli.enable().error == ""
    assert k2s.in_force() == {"kubemaster": "enforce", "winhost": "enforce"}


def test_no_agent_comes_up(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    cluster.nodes.append(Node("worker", "linux", "172.19.1.7", "172.20.7.0/24", ready=False))
    cluster.late = {"udp-security-linux": 1000}
    assert failed(cli.enable({"timeout": 10}), "node kubemaster: no agent is there")
    assert k2s.nothing_left()


def test_a_node_goes_down_in_the_rollout(k2s: K2s, cluster: Cluster, host: Host, cli: Cli) -> None:
    """Only nodes that are ready count; those that waited for it get their agents after that."""

    def watch(call: Call) -> None:
        if str(call).startswith("kubectl rollout status"):
            cluster.node("worker").ready = False

    cluster.nodes.append(Node("worker", "linux", "172.19.1.7", "172.20.7.0/24", takes=5))
    host.watch = watch
    outcome = cli.enable({"timeout": 10})
    assert outcome.error == ""
    assert "worker" in outcome.text
    assert k2s.in_force() == {"kubemaster": "enforce", "winhost": "enforce"}


def test_one_timeout_for_both(cluster: Cluster, cli: Cli) -> None:
    """A Linux node that takes its time leaves the Windows node as much."""
    for node in cluster.nodes:
        node.takes = 8
    assert cli.enable({"timeout": 10}).error == ""


def test_a_node_is_ready_but_does_not_answer(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    cluster.node("winhost").silent = True
    assert failed(cli.enable(), "winhost", "i/o timeout")
    assert k2s.nothing_left()


def test_dns_is_cut(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    cluster.dns_answers = lambda node: node.rules is None or node.rules.mode == "audit"
    outcome = cli.enable()
    assert failed(outcome, "DNS", "172.21.0.10", "kubemaster")
    assert "taken back" in outcome.error
    assert k2s.nothing_left()


def test_dns_is_slow(cluster: Cluster, cli: Cli) -> None:
    """One lost packet is no reason."""
    answers = iter([False, True])
    cluster.dns_answers = lambda node: next(answers)
    assert cli.enable().error == ""


def test_going_back_fails_as_well(k2s: K2s, host: Host, cli: Cli) -> None:
    """Both reasons, and what to do; a disable then cleans up, though K2s has it not enabled."""
    host.fail("helm upgrade", "Error: conflict", done=True)
    host.fail("helm uninstall", "Error: unreachable")
    outcome = cli.enable()
    assert failed(outcome, "conflict", "unreachable", "k2s addons disable udp-security")
    assert k2s.enabled() is None
    assert cli.disable().error == ""
    assert k2s.nothing_left()


def test_what_a_node_that_is_off_keeps(k2s: K2s, cluster: Cluster, cli: Cli, host: Host) -> None:
    """It goes off in the middle: its rules can't be taken back, and the error says where."""

    def watch(call: Call) -> None:
        if "nslookup" in str(call):
            cluster.node("worker").ready = False
            cluster.settle()

    cluster.nodes.append(Node("worker", "linux", "172.19.1.7", "172.20.7.0/24"))
    host.watch = watch
    cluster.dns_answers = lambda node: False
    outcome = cli.enable()
    assert failed(
        outcome, "not on all nodes. ", "did not remove their rules: worker. ", COMMANDS["linux"]
    )
    assert "no UDP traffic is denied" not in outcome.error
    assert k2s.in_force() == {"worker": "enforce"}
    assert cluster.pods == []
    assert "udp-security" not in cluster.namespaces


def test_the_error_names_it_whatever_fails_then(cluster: Cluster, cli: Cli, host: Host) -> None:
    """Its pod is gone: no later command can know of the node."""
    cluster.nodes.append(Node("worker", "linux", "172.19.1.7", "172.20.7.0/24"))

    def watch(call: Call) -> None:
        if str(call).startswith("helm uninstall"):
            cluster.node("worker").ready = False
            cluster.settle()

    host.watch = watch
    host.fail("Copy-ScriptsToHooksDir", "Access to the path is denied.")
    host.fail("kubectl delete namespace", "Unable to connect to the server: EOF")
    assert failed(
        cli.enable(),
        "EOF",
        "did not remove their rules: worker. ",
        "k2s addons disable udp-security",
    )


# A release that is there already: after an upgrade of K2s, or from a Helm user.


@pytest.fixture
def policy_before(k2s: K2s) -> Iterator[str]:
    """A release in audit mode with a rule, which K2s does not have for enabled. Its policy."""
    rule = {"name": "before", "direction": "ingress", "ports": [7]}
    k2s.be_enabled({"mode": "audit", "rules": [rule]})
    k2s.write_setup({**k2s.setup(), "EnabledAddons": []})
    yield generation(k2s)
    assert "udp-security" in k2s.cluster.namespaces


def generation(k2s: K2s) -> str:
    rules = k2s.cluster.node("kubemaster").rules
    assert rules
    return rules.generation


def test_a_release_before_keeps_its_values(
    k2s: K2s, cli: Cli, host: Host, policy_before: str
) -> None:
    assert cli.enable().error == ""
    assert generation(k2s) == policy_before
    assert host.helm.revisions()[-1].values["rules"][0]["name"] == "before"


def test_a_release_before_takes_a_new_mode(k2s: K2s, cli: Cli, policy_before: str) -> None:
    assert cli.enable({"mode": "enforce"}).error == ""
    assert k2s.in_force()["kubemaster"] == "enforce"


def test_new_values_replace_those_before(
    k2s: K2s, cli: Cli, host: Host, policy_before: str, tmp_path: Path
) -> None:
    path = tmp_path / "new.yaml"
    path.write_text("{}\n")
    assert cli.enable({"values": str(path)}).error == ""
    assert host.helm.revisions()[-1].values == {}
    assert k2s.in_force()["kubemaster"] == "enforce"


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_helm_fails_over_a_release(
    k2s: K2s, host: Host, cli: Cli, policy_before: str, done: bool
) -> None:
    host.fail("helm upgrade", "Error: conflict", done=done)
    assert failed(cli.enable({"mode": "enforce"}), "conflict")
    assert generation(k2s) == policy_before
    assert k2s.in_force() == {"kubemaster": "audit", "winhost": "audit"}
    assert k2s.enabled() is None


def test_an_agent_refuses_a_change(
    k2s: K2s, cluster: Cluster, host: Host, cli: Cli, policy_before: str
) -> None:
    """The node that refuses keeps what it had; the others get it back."""
    cluster.node("winhost").refuses = "group policy ignores local rules"
    outcome = cli.enable({"mode": "enforce"})
    assert failed(outcome, "winhost", "in force again")
    assert generation(k2s) == policy_before
    assert k2s.in_force() == {"kubemaster": "audit", "winhost": "audit"}
    assert host.helm.revisions()[-1].values["mode"] == "audit"


def test_dns_is_cut_by_a_change(k2s: K2s, cluster: Cluster, cli: Cli, policy_before: str) -> None:
    cluster.dns_answers = lambda node: node.rules is None or node.rules.mode == "audit"
    assert failed(cli.enable({"mode": "enforce"}), "DNS")
    assert generation(k2s) == policy_before


def test_helm_was_killed_before(k2s: K2s, host: Host, cli: Cli, policy_before: str) -> None:
    """Helm refuses everything while a revision is pending."""
    (deployed,) = host.helm.revisions()
    host.helm.revisions().append(replace(deployed, number=2, status="pending-upgrade"))
    assert cli.enable().error == ""
    assert generation(k2s) == policy_before


@pytest.mark.parametrize("status", ["pending-install", "uninstalling"])
def test_helm_was_killed_at_the_only_revision(k2s: K2s, host: Host, cli: Cli, status: str) -> None:
    k2s.be_enabled()
    k2s.write_setup({**k2s.setup(), "EnabledAddons": []})
    host.helm.revisions()[-1].status = status
    assert cli.enable().error == ""
    assert k2s.in_force() == {"kubemaster": "enforce", "winhost": "enforce"}


@pytest.fixture
def worker_off(cluster: Cluster) -> None:
    """Of three Linux nodes, one is off and has the old policy's agent still.

    Then the DaemonSet's controller waits with its new pod there (it counts as the surge), and
    gives only one other node the new policy.
    """
    for number in (7, 8):
        address, pods = f"172.19.1.{number}", f"172.20.{number}.0/24"
        cluster.nodes.append(Node(f"worker-{number}", "linux", address, pods))
    cluster.settle()
    cluster.node("worker-7").ready = False
    cluster.settle()


READY = ("kubemaster", "worker-8", "winhost")


@pytest.mark.usefixtures("policy_before", "worker_off")
def test_a_change_while_a_node_is_off(k2s: K2s, cli: Cli) -> None:
    outcome = cli.enable({"mode": "enforce", "timeout": 10})
    assert outcome.error == ""
    assert "worker-7" in outcome.text
    assert {k2s.in_force()[name] for name in READY} == {"enforce"}


@pytest.mark.usefixtures("policy_before", "worker_off")
def test_going_back_while_a_node_is_off(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    cluster.dns_answers = lambda node: node.rules is None or node.rules.mode == "audit"
    assert failed(cli.enable({"mode": "enforce", "timeout": 10}))
    assert {k2s.in_force()[name] for name in READY} == {"audit"}


def test_a_release_that_was_never_deployed(k2s: K2s, host: Host, cli: Cli) -> None:
    """Helm keeps the values of a revision that failed; they are nobody's."""
    k2s.be_enabled({"mode": "audit"})
    k2s.write_setup({**k2s.setup(), "EnabledAddons": []})
    host.helm.revisions()[-1].status = "failed"
    assert cli.enable().error == ""
    assert host.helm.revisions()[-1].values == {}
    assert k2s.in_force() == {"kubemaster": "enforce", "winhost": "enforce"}


def test_what_comes_after_success(k2s: K2s, host: Host, cli: Cli, tmp_path: Path) -> None:
    """Neither a lost temporary folder nor a summary that fails makes it a failure."""

    def watch(call: Call) -> None:
        if str(call).startswith("helm upgrade"):
            params = call.given["Params"]
            folders.append(Path(params[params.index("-f") + 1]).parent)
        elif call.name == "Add-AddonToSetupJson":
            shutil.rmtree(folders[0])

    folders: list[Path] = []
    path = tmp_path / "values.yaml"
    path.write_text("{}\n")
    host.watch = watch
    host.fail("Write-Log Installation of", "The log is full.")
    assert cli.enable({"values": str(path)}).error == ""
    assert folders
    assert k2s.enabled()
