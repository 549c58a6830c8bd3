# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The fakes themselves: as strict as K2s, kubectl, Helm and Windows PowerShell are."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess

import jsonschema_rs
import pytest
from tests.k2s import helm as fake_helm
from tests.k2s import kubectl as fake_kubectl
from tests.k2s.artifact_places import CHART, tool
from tests.k2s.cli import Cli
from tests.k2s.cluster import Cluster, Node
from tests.k2s.decoding import DecodingError, decode, status_properties
from tests.k2s.host import Host
from tests.k2s.native import ToolError, UnknownCallError, received
from tests.k2s.tree import K2s


@pytest.mark.parametrize(
    ("given", "got"),
    [
        (["get", "pods"], ["get", "pods"]),
        (["a b", "c"], ["a b", "c"]),
        (["", "x"], ["x"]),
        (['{"a":"b c"}'], ["{a:b c}"]),
        (['{"a": "b"}'], ["{a: b}"]),
        (['{\\"a\\":1}'], ['{"a":1}']),
        (["%X%\\a\\b.ps1"], ["%X%\\a\\b.ps1"]),
    ],
)
def test_windows_powershell_eats_quotes(given: list[str], got: list[str]) -> None:
    assert received(given) == got


def _message(text: str, kind: str = "CmdResult") -> str:
    return f"#pm#{kind}#{base64.b64encode(gzip.compress(text.encode())).decode()}"


def test_one_message_is_decoded() -> None:
    lines = ["[12:00:00] x", _message('{"Error":null}')]
    assert decode(lines, "CmdResult") == {"Error": None}


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["x"],
        [_message("{}"), _message("{}")],
        [_message("{}", "Other")],
        [_message("{")],
        ["#pm#CmdResult#!"],
        [" " + _message("{}")],
    ],
)
def test_other_messages_are_not(lines: list[str]) -> None:
    with pytest.raises(DecodingError):
        decode(lines, "CmdResult")


_GOOD = {"Name": "a", "Value": 1, "Okay": None, "Message": None}


def test_good_properties() -> None:
    assert status_properties([_GOOD, {**_GOOD, "Okay": True, "Message": "x"}])


@pytest.mark.parametrize(
    "found",
    [
        _GOOD,
        None,
        [_GOOD, "x"],
        [_GOOD, 1],
        [[_GOOD]],
        [{**_GOOD, "Okay": "true"}],
        [{**_GOOD, "Okay": 1}],
        [{**_GOOD, "More": 1}],
        [{**_GOOD, "Message": 1}],
        [{"Name": "a"}],
    ],
)
def test_bad_properties(found: object) -> None:
    with pytest.raises(DecodingError):
        status_properties(found)


CALLS = {
    "Invoke-Kubectl": "-Parameters get,nodes",
    "Invoke-Helm": "-Args list",
    "Test-SystemAvailability": "-Structures",
    "Test-IsAddonEnabled": "-Name udp-security",
    "Add-AddonToSetupJson": "-Addon @{ Name = 'x' }",
    "Remove-AddonFromSetupJson": "-Addon 'x'",
    "Get-AddonConfig": "-Addon x",
    "New-Error": "-Severity Info -Code x -Message x",
    "Send-ToCli": "-Type x -Message x",
    "Write-Log": "-Text x",
    "Initialize-Logging": "-Show x",
    "New-AddonStatusProperty": "-Name x -Okay $true",
    "Copy-ScriptsToHooksDir": "-ScriptPaths 'one.ps1'",
    "Remove-ScriptsFromHooksDir": "-ScriptNames 'one.ps1'",
    "Invoke-CmdOnControlPlaneViaSSHKey": "-Command x",
    "Wait-ForPodCondition": "-Label x -Condition Running",
}


def test_wrong_calls_of_k2s_functions(k2s: K2s) -> None:
    """A wrong name, a wrong type, one string for an array: none binds."""
    lines = [f"try {{ {name} {options}; '{name}' }} catch {{ }}" for name, options in CALLS.items()]
    modules = [
        *(
            f"lib/modules/k2s/k2s.{m}.module/k2s.{m}.module.psm1"
            for m in ("infra", "cluster", "node")
        ),
        "addons/addons.module.psm1",
    ]
    imports = [f"Import-Module '{k2s.root / path}'" for path in modules]
    known = [f"$null = Get-Command {name} -ErrorAction Stop" for name in CALLS]
    done = k2s.pwsh(
        "-Command",
        "\n".join(["$ErrorActionPreference = 'Stop'", *imports, *known, *lines, "exit 0"]),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def run(k2s: K2s, body: str) -> Cli:
    """Disable.ps1 does something else."""
    head = (
        'Import-Module "$PSScriptRoot/../../lib/modules/k2s/k2s.infra.module/k2s.infra.module.psm1"'
    )
    parameters = (
        "param([switch] $ShowLogs, [switch] $EncodeStructuredOutput, [string] $MessageType)"
    )
    (k2s.addon / "Disable.ps1").write_text("\n".join([parameters, head, body]))
    return Cli(k2s)


SEND = "Send-ToCli -MessageType $MessageType -Message @{ Error = $null }"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (SEND, ""),
        ("'x'", "no messages to decode"),
        ("exit 1", "no messages to decode"),
        (f"{SEND}; throw 'x'", "command failed: exit status 1"),
        (f"{SEND}; {SEND}", "2 messages to decode"),
        (f"function f {{ {SEND} }}; $x = f", "no messages to decode"),
    ],
)
def test_what_the_command_line_makes_of_a_script(k2s: K2s, body: str, error: str) -> None:
    outcome = run(k2s, body).disable()
    assert outcome.error == error
    assert outcome.code == bool(error)


def test_what_the_console_shows(k2s: K2s) -> None:
    body = """
    Write-Log 'a' -Console; Write-Log 'b'; Write-Log "[Tag] c`nd" -Console
    Write-Host 'e'; Write-Warning 'f'; 'g'; Write-Log 'h' -Error; Write-Error 'i'
    """
    quiet = run(k2s, body + SEND).disable()
    assert [re.sub(r"^\[[\d:]+\] ", "", line) for line in quiet.console] == ["a", "c d", "i"]
    body = "Initialize-Logging -ShowLogs:$ShowLogs\n" + body
    loud = run(k2s, body + SEND).disable(output=True)
    assert all(any(letter in line for line in loud.console) for letter in "abefghi")


def test_it_warns_on_success_too(k2s: K2s, host: Host) -> None:
    """Scripts that take standard error for output fail at every call."""
    answer = host.answer("kubectl", {"Params": ["get", "nodes", "-o", "json"]})
    errors = [line["error"] for line in answer["value"]["lines"]]
    assert errors[0] is True
    assert errors[1:] == [False] * len(errors[1:])


def test_what_it_does_not_know_is_a_fault_of_the_test(k2s: K2s, host: Host) -> None:
    assert host.answer("kubectl", {"Params": ["drain", "x"]})["value"]["code"] == 1
    assert host.answer("ssh", {"Command": "reboot"})["value"]["code"] == 1
    assert host.unknown == ["kubectl drain", "on the control plane: reboot"]
    host.unknown.clear()


@pytest.mark.parametrize("command", fake_helm.OPTIONS)
def test_helms_options_are_real(command: str) -> None:
    known = _options(tool("helm"), *command.split(), "--help")
    assert set(fake_helm.OPTIONS[command]) <= known


@pytest.mark.parametrize("command", fake_kubectl.OPTIONS)
def test_kubectls_options_are_real(command: str) -> None:
    words = {"rollout": ["rollout", "status"]}.get(command, [command])
    known = _options(tool("kubectl"), *words, "--help") | _options(tool("kubectl"), "options")
    assert set(fake_kubectl.OPTIONS[command]) <= known


def _options(*command: str) -> set[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return set(re.findall(r"(?<!\S)(--?[a-z][-a-z]*)", done.stdout))


@pytest.fixture
def three(cluster: Cluster, host: Host) -> Cluster:
    """A cluster with two Linux nodes more, and the chart installed."""
    for number in (1, 2):
        name, address = f"worker-{number}", f"172.19.1.{number + 100}"
        cluster.nodes.append(Node(name, "linux", address, f"172.20.{number + 1}.0/24"))
    cluster.apply([{"kind": "Namespace", "metadata": {"name": "udp-security"}}], "kubectl")
    host.helm.run(["upgrade", "udp-security", str(CHART), "-n", "udp-security", "--install"])
    assert len({node.rules for node in cluster.nodes if node.os == "linux"}) == 1
    return cluster


def _audit(host: Host) -> None:
    options = ["-n", "udp-security", "--set", "mode=audit"]
    host.helm.run(["upgrade", "udp-security", str(CHART), *options])


def test_a_rollout_stops_at_the_first_node_that_refuses(three: Cluster, host: Host) -> None:
    three.node("kubemaster").refuses = "no"
    _audit(host)
    modes = [node.rules.mode for node in three.nodes if node.rules]
    assert modes == ["enforce", "audit", "enforce", "enforce"]
    with pytest.raises(ToolError, match="timed out"):
        host.kubectl.run(
            ["rollout", "status", "ds/udp-security-linux", "-n", "udp-security", "--timeout=5s"]
        )
    three.node("kubemaster").refuses = ""
    three.settle()
    assert {node.rules.mode for node in three.nodes if node.rules} == {"audit"}


def test_a_node_that_is_off_holds_up_a_rollout(three: Cluster, host: Host) -> None:
    three.node("worker-2").ready = False
    three.settle()
    _audit(host)
    # Its new pod, and one more, are those that may surge; the first never becomes ready.
    linux = [node for node in three.nodes if node.os == "linux" and node.ready]
    assert [node.rules.mode for node in linux if node.rules] == ["audit", "enforce"]


def test_agents_statuses_are_valid(three: Cluster, host: Host) -> None:
    schema = json.loads((CHART / "files" / "status.schema.json").read_text(encoding="utf-8"))
    three.node("winhost").put_in_force(None)
    three.node("winhost").refuses = "no"
    three.settle()
    for pod in three.pods:
        status = [*pod.probe[:-1], "status"]
        text = host.kubectl.run(["exec", pod.name, "-n", "udp-security", "--", *status])
        jsonschema_rs.validator_for(schema).validate(json.loads(text))


def test_helm_refuses_what_the_real_one_refuses(cluster: Cluster, host: Host) -> None:
    upgrade = ["upgrade", "udp-security", str(CHART), "-n", "udp-security"]
    with pytest.raises(ToolError, match="no deployed releases"):
        host.helm.run(upgrade)
    with pytest.raises(ToolError, match='namespaces "udp-security" not found'):
        host.helm.run([*upgrade, "--install"])
    cluster.apply([{"kind": "Namespace", "metadata": {"name": "udp-security"}}], "kubectl")
    with pytest.raises(ToolError, match="unknown flag: --atomic"):
        host.helm.run([*upgrade, "--install", "--atomic"])
    with pytest.raises(ToolError, match="INSTALLATION FAILED: values don't meet"):
        host.helm.run([*upgrade, "--install", "--set", "mode=warn"])
    host.helm.run([*upgrade, "--install"])
    for applied in cluster.objects.values():
        applied.manager = "kubectl"
    with pytest.raises(ToolError, match="conflict"):
        host.helm.run(upgrade)
    assert [revision.status for revision in host.helm.revisions()] == ["deployed", "failed"]
    host.helm.run([*upgrade, "--force-conflicts"])
    with pytest.raises(UnknownCallError):
        host.helm.run(["list"])


def test_helms_values(cluster: Cluster, host: Host) -> None:
    cluster.apply([{"kind": "Namespace", "metadata": {"name": "udp-security"}}], "kubectl")
    upgrade = ["upgrade", "udp-security", str(CHART), "-n", "udp-security", "--install"]
    for options, values in (
        (["--set", "mode=audit"], {"mode": "audit"}),
        ([], {"mode": "audit"}),
        (["--set", "denyAction=reject"], {"denyAction": "reject"}),
        (
            ["--reset-then-reuse-values", "--set", "mode=audit"],
            {"denyAction": "reject", "mode": "audit"},
        ),
        (["--reset-values"], {}),
    ):
        host.helm.run([*upgrade, *options])
        assert host.helm.revisions()[-1].values == values
    place = ["udp-security", "-n", "udp-security"]
    assert host.helm.run(["get", "values", *place, "-o", "json"]) == "null"
    everything = json.loads(host.helm.run(["get", "values", *place, "--all", "-o", "json"]))
    assert everything["mode"] == "enforce"
    host.helm.run(["rollback", "udp-security", "1", "-n", "udp-security"])
    assert host.helm.revisions()[-1].values == {"mode": "audit"}


def test_a_namespace_waits_for_its_pods(three: Cluster) -> None:
    three.node("worker-1").ready = False
    assert not three.delete_namespace("udp-security")
    three.drop([pod.name for pod in three.pods])
    three.settle()
    assert three.namespaces == {}


def test_the_tree_is_one_of_exported_files(k2s: K2s) -> None:
    assert not (k2s.addon / "chart").exists()
    assert list((k2s.addon / "manifests" / "chart").glob("*.tgz"))
