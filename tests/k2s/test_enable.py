# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`k2s addons enable udp-security` where nothing goes wrong, or nothing may be begun."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.k2s.cli import ERROR, WARNING, Cli
from tests.k2s.cluster import Cluster, Node
from tests.k2s.host import Host
from tests.k2s.scripts import run, threw
from tests.k2s.tree import HOOK, K2s

CHART = "udp-security-0.1.0.tgz"


def test_the_policy_is_in_force(k2s: K2s, cli: Cli, cluster: Cluster) -> None:
    outcome = cli.enable()
    assert (outcome.error, outcome.code) == ("", 0)
    assert k2s.in_force() == {"kubemaster": "enforce", "winhost": "enforce"}
    assert k2s.firewall_rules()
    assert cluster.namespaces["udp-security"]["pod-security.kubernetes.io/enforce"] == "privileged"


def test_k2s_knows_it_as_enabled(k2s: K2s, cli: Cli) -> None:
    cli.enable()
    entry = k2s.enabled()
    assert entry is not None
    # It would make K2s look for the scripts in a folder of that name.
    assert "Implementation" not in entry
    # What else was in the file is there still.
    assert k2s.setup()["SetupType"] == "k2s"


def test_the_tests_short_cut_leads_to_the_same(k2s: K2s, cli: Cli) -> None:
    """Tests of what comes afterwards begin with be_enabled()."""

    def state() -> object:
        hooks = {path.name: path.read_bytes() for path in k2s.hooks.iterdir()}
        helm = [(r.values, r.status, r.documents) for r in k2s.host.helm.revisions()]
        nodes = [(node.name, node.rules) for node in k2s.cluster.nodes]
        objects, namespaces = dict(k2s.cluster.objects), dict(k2s.cluster.namespaces)
        return hooks, helm, nodes, objects, namespaces, k2s.setup(), k2s.firewall_rules()

    assert cli.enable().error == ""
    by_script = state()
    assert cli.disable().error == ""
    k2s.be_enabled()
    assert state() == by_script


def test_the_hook_is_installed(k2s: K2s, cli: Cli) -> None:
    cli.enable()
    assert [path.name for path in k2s.hooks.iterdir()] == [HOOK]
    assert (k2s.hooks / HOOK).read_bytes() == (k2s.addon / "hooks" / HOOK).read_bytes()


def test_the_order(host: Host, cli: Cli) -> None:
    """First what may forbid it, last what tells others that it is done."""
    cli.enable()
    names = [call.name for call in host.calls if call.name != "Write-Log"]
    assert names[:3] == ["Initialize-Logging", "Test-SystemAvailability", "Test-IsAddonEnabled"]
    assert names[-2:] == ["Add-AddonToSetupJson", "Send-ToCli"]
    said = host.said("kubectl", "helm")
    upgrade = next(i for i, call in enumerate(said) if call.startswith("helm upgrade"))
    apply = next(i for i, call in enumerate(said) if call.startswith("kubectl apply"))
    assert apply < upgrade
    after = said[upgrade:]
    steps = ["rollout status daemonset/udp-security-linux", "agent.sh check", "nslookup"]
    positions = [next(i for i, call in enumerate(after) if step in call) for step in steps]
    assert positions == sorted(positions)


def test_only_the_namespace_is_applied_by_kubectl(host: Host, cli: Cli) -> None:
    """manifests/ holds gitops-sync/ after an import, and Helm owns the rest."""
    cli.enable()
    applied = [call for call in host.said("kubectl") if call.startswith("kubectl apply")]
    assert len(applied) == 1
    assert applied[0].endswith("manifests/00-namespace.yaml")
    assert "recursive" not in applied[0]


def test_both_operating_systems_are_checked(host: Host, cli: Cli) -> None:
    cli.enable()
    execs = [call for call in host.said("kubectl") if call.startswith("kubectl exec")]
    assert any("udp-security-linux" in call and "agent.sh check" in call for call in execs)
    assert any("udp-security-windows" in call and "-Command Check" in call for call in execs)


def test_what_the_user_reads(cli: Cli) -> None:
    outcome = cli.enable()
    assert "Checking cluster status" in outcome.text
    assert "Installation of udp-security finished." in outcome.text
    assert "k2s addons status udp-security" in outcome.text
    assert "k2s addons disable udp-security" in outcome.text
    for word in ("denied", "dns", "TCP"):
        assert word.lower() in outcome.text.lower()
    # One thought a line, and no traces of the programs that ran.
    assert all(len(line) < 200 for line in outcome.console)
    assert "Warning" not in outcome.text


def test_audit_is_called_audit(k2s: K2s, cli: Cli) -> None:
    outcome = cli.enable({"mode": "audit"})
    assert k2s.in_force() == {"kubemaster": "audit", "winhost": "audit"}
    assert "audit" in outcome.text
    assert "Denied now" not in outcome.text


def test_audit_needs_no_self_test(host: Host, cluster: Cluster, cli: Cli) -> None:
    """It denies nothing, so that DNS that is broken anyway is no reason against it."""
    cluster.dns_answers = lambda node: False
    assert cli.enable({"mode": "audit"}).code == 0


def test_with_all_logs(cli: Cli) -> None:
    quiet = cli.enable()
    cli.disable()
    loud = cli.enable(output=True)
    assert loud.code == 0
    assert len(loud.console) >= len(quiet.console)


def test_a_k2s_without_windows(k2s: K2s, cluster: Cluster, cli: Cli) -> None:
    """LinuxOnly: nobody waits for a Windows node."""
    k2s.write_setup({**k2s.setup(), "LinuxOnly": True})
    cluster.nodes = [node for node in cluster.nodes if node.os == "linux"]
    outcome = cli.enable()
    assert outcome.error == ""
    assert "Windows" not in outcome.text
    assert not any("daemonset/udp-security-windows" in c for c in k2s.host.said("kubectl"))


def test_a_node_that_is_off_is_named_and_left_out(cluster: Cluster, k2s: K2s, cli: Cli) -> None:
    worker = Node("worker-7", "linux", "172.19.1.107", "172.20.7.0/24", ready=False)
    cluster.nodes.append(worker)
    outcome = cli.enable()
    assert outcome.error == ""
    assert "worker-7" in outcome.text
    assert k2s.in_force() == {"kubemaster": "enforce", "winhost": "enforce"}
    # It comes back, and gets what the others have.
    worker.ready = True
    cluster.settle()
    assert k2s.in_force()["worker-7"] == "enforce"


def test_a_slow_node_is_waited_for(cluster: Cluster, k2s: K2s, cli: Cli) -> None:
    cluster.node("winhost").takes = 100
    assert cli.enable().error == ""
    assert k2s.in_force()["winhost"] == "enforce"


def test_already_enabled(k2s: K2s, host: Host, cli: Cli) -> None:
    cli.enable()
    host.calls.clear()
    outcome = cli.enable({"mode": "audit"})
    assert outcome.code == 1
    assert outcome.severity == WARNING
    assert outcome.id == "addon-already-enabled"
    assert outcome.error == "Addon 'udp-security' is already enabled, nothing to do."
    assert host.said("kubectl", "helm") == []
    assert k2s.in_force()["kubemaster"] == "enforce"


def test_already_enabled_without_the_cli(k2s: K2s, cli: Cli) -> None:
    cli.enable()
    done = run(k2s, "Enable.ps1")
    assert done.returncode == 1
    assert "already enabled" in done.stderr + done.stdout
    assert "#pm#" not in done.stdout


@pytest.mark.parametrize("script", ["Enable.ps1", "Disable.ps1"])
def test_a_system_that_is_not_running(k2s: K2s, host: Host, cli: Cli, script: str) -> None:
    host.running = False
    outcome = cli.enable() if script == "Enable.ps1" else cli.disable()
    assert (outcome.code, outcome.severity, outcome.id) == (1, WARNING, "system-not-running")
    assert host.said("kubectl", "helm", "ssh", "Test-IsAddonEnabled") == []
    assert k2s.enabled() is None


def test_no_system_at_all(k2s: K2s, host: Host, cli: Cli) -> None:
    k2s.setup_path.unlink()
    outcome = cli.enable()
    assert (outcome.code, outcome.id) == (1, "system-not-installed")
    assert host.said("kubectl", "helm") == []


@pytest.mark.parametrize("script", ["Enable.ps1", "Disable.ps1"])
def test_another_setup(k2s: K2s, host: Host, cli: Cli, script: str) -> None:
    k2s.write_setup({**k2s.setup(), "SetupType": "BuildOnlyEnv"})
    outcome = cli.enable() if script == "Enable.ps1" else cli.disable()
    assert (outcome.code, outcome.severity, outcome.id) == (1, WARNING, "wrong-setup-type")
    assert host.said("kubectl", "helm") == []


def test_the_chart_of_this_version_is_taken(k2s: K2s, host: Host, cli: Cli) -> None:
    """An import deletes nothing: charts of other versions stay beside it."""
    charts = k2s.addon / "manifests" / "chart"
    for version in ("0.0.9", "0.10.0", "9.9.9"):
        shutil.copy(charts / CHART, charts / f"udp-security-{version}.tgz")
    assert cli.enable().error == ""
    charts_named = {w for c in host.calls for w in c.given.get("Params", []) if w.endswith(".tgz")}
    assert charts_named == {str(charts / CHART)}


def test_without_its_chart(k2s: K2s, cli: Cli) -> None:
    (k2s.addon / "manifests" / "chart" / CHART).unlink()
    outcome = cli.enable()
    assert (outcome.severity, outcome.id) == (ERROR, "addon-enable-failed")
    assert CHART in outcome.error
    assert k2s.nothing_left()


def test_with_only_this_addon_there(k2s: K2s, cli: Cli) -> None:
    """K2s's own tests enable an addon beside addons/common alone."""
    shutil.rmtree(k2s.root / "addons" / "other")
    assert cli.enable().error == ""


def test_from_another_folder(k2s: K2s) -> None:
    done = run(k2s, "Enable.ps1", folder="/")
    assert (done.returncode, done.stderr) == (0, "")
    assert k2s.enabled()


def test_a_config_object_wins(k2s: K2s) -> None:
    config = "-Config ([pscustomobject] @{ Mode = 'audit' })"
    done = run(k2s, "Enable.ps1", "-Mode enforce", config)
    assert (done.returncode, done.stderr) == (0, "")
    assert k2s.in_force()["kubemaster"] == "audit"


def test_an_unencoded_success_sends_nothing(k2s: K2s, host: Host) -> None:
    done = run(k2s, "Enable.ps1")
    assert (done.returncode, done.stderr) == (0, "")
    assert host.said("Send-ToCli") == []


def test_an_unencoded_failure_throws(k2s: K2s, host: Host) -> None:
    """An upgrade of K2s takes an exit code for success."""
    host.fail("helm upgrade", "Error: no")
    assert "Error: no" in threw(k2s, "Enable.ps1")
    assert host.said("Send-ToCli") == []


def test_disable_and_enable_forget_the_values(k2s: K2s, cli: Cli) -> None:
    """Values given once are not resurrected silently: the user is told so."""
    path = k2s.program_data / "values.yaml"
    path.write_text(json.dumps({"mode": "audit"}))
    assert cli.enable({"values": str(path)}).code == 0
    gone = cli.disable()
    assert "values" in gone.text
    assert cli.enable().code == 0
    assert k2s.in_force()["kubemaster"] == "enforce"
