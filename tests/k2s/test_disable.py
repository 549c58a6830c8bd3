# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`k2s addons disable udp-security`: nothing stays, whatever the nodes do."""

from __future__ import annotations

import pytest
from tests.k2s.cli import ERROR, WARNING, Cli
from tests.k2s.cluster import Cluster, Node, Policy
from tests.k2s.host import Host
from tests.k2s.scripts import run
from tests.k2s.tree import HOOK, K2s

from udp_security.cluster.removal import COMMANDS


@pytest.fixture(autouse=True)
def enabled(k2s: K2s) -> None:
    k2s.be_enabled()


def test_nothing_is_left(k2s: K2s, cli: Cli) -> None:
    outcome = cli.disable()
    assert (outcome.error, outcome.code) == ("", 0)
    assert k2s.nothing_left()
    assert "EnabledAddons" not in k2s.setup()
    assert "Uninstallation of udp-security finished" in outcome.text
    assert [r["Name"] for r in k2s.windows.records()] == ["CoreNet-DHCP"]


def test_the_order(host: Host, cli: Cli) -> None:
    cli.disable()
    names = [call.name for call in host.calls if call.name != "Write-Log"]
    assert names[:3] == ["Initialize-Logging", "Test-SystemAvailability", "Test-IsAddonEnabled"]
    assert names[-2:] == ["Remove-AddonFromSetupJson", "Send-ToCli"]
    assert "ssh" in names


def test_no_agent_is_left_when_it_looks(host: Host, cli: Cli) -> None:
    """Or one could put its rules there again."""
    pods_at_look = []

    def watch(call: object) -> None:
        if str(call).startswith("ssh"):
            pods_at_look.append(len(host.cluster.pods))

    host.watch = watch
    cli.disable()
    assert pods_at_look
    assert set(pods_at_look) == {0}


def test_a_second_time(k2s: K2s, host: Host, cli: Cli) -> None:
    cli.disable()
    host.calls.clear()
    outcome = cli.disable()
    assert (outcome.code, outcome.severity) == (1, WARNING)
    assert outcome.id == "addon-already-disabled"
    assert outcome.error == "Addon 'udp-security' is already disabled, nothing to do."
    assert not any(c.startswith(("helm uninstall", "kubectl delete")) for c in host.said())


def test_without_the_cli(k2s: K2s, host: Host) -> None:
    done = run(k2s, "Disable.ps1")
    assert (done.returncode, done.stderr) == (0, "")
    assert k2s.nothing_left()
    again = run(k2s, "Disable.ps1")
    assert again.returncode == 1
    assert "already disabled" in again.stdout + again.stderr
    assert host.said("Send-ToCli") == []


def test_the_agent_on_the_control_plane_left_rules(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    cluster.node("kubemaster").stubborn = True
    assert cli.disable().error == ""
    assert k2s.nothing_left()


def test_the_agent_on_this_host_left_rules(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    cluster.node("winhost").stubborn = True
    assert cli.disable().error == ""
    assert k2s.firewall_rules() == []
    assert [r["Name"] for r in k2s.windows.records()] == ["CoreNet-DHCP"]


def test_nodes_are_off(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    """This host's rules go, since the computer is on; and pods do not hold the namespace."""
    cluster.nodes.append(Node("worker", "linux", "172.19.1.7", "172.20.7.0/24"))
    cluster.settle()
    for name in ("winhost", "worker"):
        cluster.node(name).ready = False
    cluster.settle()
    outcome = cli.disable()
    assert outcome.error == ""
    assert "did not remove their rules: winhost, worker. " in outcome.text
    assert f"{COMMANDS['windows']} (Windows), or (Linux): {COMMANDS['linux']}" in outcome.text
    assert k2s.firewall_rules() == []
    assert cluster.pods == []
    assert cluster.namespaces == {}
    assert k2s.enabled() is None


def test_the_control_plane_does_not_answer(
    k2s: K2s, cluster: Cluster, host: Host, cli: Cli
) -> None:
    """Whether rules are left there isn't known: the user is told how to remove them."""
    host.reachable = False
    outcome = cli.disable()
    assert outcome.error == ""
    assert "not known (no answer: ssh: connect to host 172.19.1.100 port 22" in outcome.text
    assert f"run there: {COMMANDS['linux']}" in outcome.text
    assert k2s.enabled() is None


def test_rules_that_cannot_be_deleted(k2s: K2s, cluster: Cluster, host: Host, cli: Cli) -> None:
    for node in cluster.nodes:
        node.stubborn = True
    host.fail("ssh { sudo nft list tables", "Error: Device or resource busy")
    outcome = cli.disable()
    assert (outcome.code, outcome.severity) == (1, ERROR)
    assert outcome.error == (
        "Rules on the control plane could not be removed ('nft list chains' shows them): "
        "Error: Device or resource busy (run this again)"
    )
    # This host is free of them all the same.
    assert k2s.firewall_rules() == []
    # It is still enabled, so that the user can disable it again.
    assert k2s.enabled()
    assert cli.disable().error == ""
    assert "kubemaster" not in k2s.in_force()
    assert k2s.enabled() is None


@pytest.mark.parametrize("words", ["helm uninstall", "kubectl delete namespace"])
def test_a_program_fails(k2s: K2s, host: Host, cli: Cli, words: str) -> None:
    host.fail(words, "Unable to connect to the server: EOF")
    outcome = cli.disable()
    assert (outcome.code, outcome.severity) == (1, ERROR)
    assert "EOF" in outcome.error
    assert k2s.enabled()
    assert cli.disable().error == ""
    assert k2s.nothing_left()


def test_a_release_that_helm_does_not_know(k2s: K2s, host: Host, cli: Cli) -> None:
    """Somebody ran `helm uninstall` before."""
    host.helm.run(["uninstall", "udp-security", "-n", "udp-security"])
    assert cli.disable().error == ""
    assert k2s.nothing_left()


def test_agents_that_kubectl_installed(k2s: K2s, cluster: Cluster, host: Host, cli: Cli) -> None:
    """As K2s does it on a Linux host: no release has them, and they must get no successors."""
    cli.disable()
    for path in sorted((k2s.addon / "manifests").glob("*.yaml")):
        host.kubectl.run(["apply", "-f", str(path)])
    assert k2s.in_force()
    began = cluster.now
    outcome = cli.disable()
    assert outcome.error == ""
    assert "did not remove" not in outcome.text
    assert cluster.now - began < 30
    assert k2s.nothing_left()


def test_agents_that_keep_their_rules(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    """onStop: keep is for an agent that ends by accident. What one does not remove is told."""
    for number in (7, 8):
        cluster.nodes.append(
            Node(f"worker-{number}", "linux", f"172.19.1.{number}", f"172.20.{number}.0/24")
        )
    cluster.node("worker-8").stubborn = True
    k2s.be_enabled({"linux": {"onStop": "keep"}, "windows": {"onStop": "keep"}})
    outcome = cli.disable()
    assert outcome.error == ""
    assert "did not remove their rules: worker-8. " in outcome.text
    assert k2s.in_force() == {"worker-8": "enforce"}


def test_a_namespace_that_is_gone(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    cluster.node("kubemaster").stubborn = True
    assert cluster.delete_namespace("udp-security")
    assert cli.disable().error == ""
    assert k2s.nothing_left()


@pytest.mark.parametrize("name", ["kubemaster", "winhost"])
def test_rules_that_were_left_before(k2s: K2s, cluster: Cluster, cli: Cli, name: str) -> None:
    """K2s has it disabled, the namespace is gone, and rules are in force all the same."""
    assert cli.disable().error == ""
    cluster.node(name).put_in_force(Policy("0123456789ab", "enforce"))
    assert cli.disable().error == ""
    assert k2s.firewall_rules() == []
    assert "kubemaster" not in k2s.in_force()
    assert cli.disable().id == "addon-already-disabled"


def test_a_firewall_that_cannot_be_asked(k2s: K2s) -> None:
    """That there is no such cmdlet does not mean that there are no rules."""
    done = k2s.pwsh("-Command", f"$env:PSModulePath = ''; & '{k2s.addon}/Disable.ps1'")
    assert done.returncode == 1
    assert "Get-NetFirewallRule" in done.stdout + done.stderr
    assert k2s.enabled()


def test_what_is_of_others_stays(k2s: K2s, cli: Cli) -> None:
    (k2s.hooks / "other.AfterUninstall.ps1").write_text("'other'\n")
    setup = k2s.setup()
    setup["EnabledAddons"].append({"Name": "other"})
    k2s.write_setup(setup)
    assert cli.disable().error == ""
    assert [path.name for path in k2s.hooks.iterdir()] == ["other.AfterUninstall.ps1"]
    assert k2s.setup()["EnabledAddons"] == [{"Name": "other"}]


def test_a_hook_that_is_gone(k2s: K2s, cli: Cli) -> None:
    (k2s.hooks / HOOK).unlink()
    assert cli.disable().error == ""


def test_no_windows_node(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    cli.disable()
    k2s.write_setup({**k2s.setup(), "LinuxOnly": True})
    cluster.nodes = [node for node in cluster.nodes if node.os == "linux"]
    assert cli.enable().error == ""
    assert cli.disable().error == ""
    assert k2s.nothing_left()
