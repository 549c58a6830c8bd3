# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The values that `k2s addons enable udp-security` gives Helm: the user's, and the cluster's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.k2s.cli import ERROR, Cli
from tests.k2s.cluster import Cluster
from tests.k2s.helm import computed
from tests.k2s.host import Host
from tests.k2s.tree import K2s

RULE = {"name": "syslog", "direction": "ingress", "ports": [514], "from": ["10.1.0.0/16"]}
Written = Callable[..., str]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes a values file and gives its path."""

    def write(values: object, path: str = "values.yaml") -> str:
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = values if isinstance(values, str) else yaml.safe_dump(values, allow_unicode=True)
        target.write_text(text, encoding="utf-8")
        return str(target)

    return write


def in_effect(host: Host) -> dict[str, Any]:
    """The values of the release."""
    revision = host.helm.revisions()[-1]
    return computed(revision.chart, revision.values)


def test_a_users_rules(host: Host, cli: Cli, written: Written) -> None:
    outcome = cli.enable({"values": written({"rules": [RULE]})})
    assert outcome.error == ""
    assert in_effect(host)["rules"] == [RULE]
    assert "1 rule" in outcome.text


@pytest.mark.parametrize(
    "path",
    [
        "it's my/o''neill, {a}.yaml",
        "[a] (x)&b;c|d/*?%25 ütf größe.yaml",
        "no-suffix",
    ],
)
def test_any_path(host: Host, cli: Cli, written: Written, path: str) -> None:
    outcome = cli.enable({"values": written({"rules": [RULE]}, path)})
    assert outcome.error == ""
    assert in_effect(host)["rules"] == [RULE]


def test_a_path_relative_to_the_users_folder(k2s: K2s, host: Host, written: Written) -> None:
    path = Path(written({"rules": [RULE]}))
    script = f"Set-Location -LiteralPath '{path.parent}'; & '{k2s.addon}/Enable.ps1' -Values"
    done = k2s.pwsh("-Command", f"{script} {path.name}")
    assert (done.returncode, done.stderr) == (0, "")
    assert in_effect(host)["rules"] == [RULE]


def test_letters_of_any_language(host: Host, cli: Cli, written: Written) -> None:
    rule = {**RULE, "description": 'für "Größe" $HOME `x` 無線'}
    assert cli.enable({"values": written({"rules": [rule]})}).error == ""
    assert in_effect(host)["rules"] == [rule]


@pytest.mark.parametrize("wanted", ["enforce", "audit"])
def test_the_modes_flag_wins(k2s: K2s, cli: Cli, written: Written, wanted: str) -> None:
    other = {"enforce": "audit", "audit": "enforce"}[wanted]
    assert cli.enable({"mode": wanted, "values": written({"mode": other})}).error == ""
    assert set(k2s.in_force().values()) == {wanted}


def test_without_the_flag_the_file_has_the_mode(k2s: K2s, cli: Cli, written: Written) -> None:
    assert cli.enable({"values": written({"mode": "audit"})}).error == ""
    assert set(k2s.in_force().values()) == {"audit"}


def test_a_file_that_is_not_there(k2s: K2s, host: Host, cli: Cli, tmp_path: Path) -> None:
    path = str(tmp_path / "nowhere.yaml")
    outcome = cli.enable({"values": path})
    assert (outcome.code, outcome.severity) == (1, ERROR)
    assert outcome.id == "addon-invalid-parameter"
    assert path in outcome.error
    assert "not found" in outcome.error
    assert nothing_was_applied(k2s, host)


def test_a_folder(k2s: K2s, host: Host, cli: Cli, tmp_path: Path) -> None:
    assert cli.enable({"values": str(tmp_path)}).id == "addon-invalid-parameter"
    assert nothing_was_applied(k2s, host)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("rules: [", "yaml"),
        ("- a list", "cannot unmarshal array"),
        ("mode: warn\n", "mode"),
        ("rulez: []\n", "rulez"),
        ("rules: [{name: x, direction: ingress, ports: [70000]}]\n", "ports"),
        ("rules: [{name: x, direction: ingress, ports: [1], from: [10.0.0.1/8]}]\n", "10.0.0"),
        ("presets: {dns: false}\n", "dns"),
    ],
    ids=["no-yaml", "list", "enum", "unknown", "range", "host-bits", "cuts-dns"],
)
def test_bad_values(
    k2s: K2s, host: Host, cli: Cli, written: Written, values: str, said: str
) -> None:
    """Helm's own words, before anything is touched."""
    outcome = cli.enable({"values": written(values)})
    assert (outcome.code, outcome.severity) == (1, ERROR)
    assert outcome.id == "addon-invalid-parameter"
    assert said.lower() in outcome.error.lower()
    assert nothing_was_applied(k2s, host)


def nothing_was_applied(k2s: K2s, host: Host) -> bool:
    """Not only is nothing left: nothing was begun."""
    changing = ("kubectl apply", "helm upgrade", "helm install", "kubectl delete")
    return k2s.nothing_left() and not any(call.startswith(changing) for call in host.said())


def test_k2s_own_addresses_need_no_values(host: Host, cli: Cli) -> None:
    cli.enable()
    cluster = in_effect(host)["cluster"]
    assert cluster["podCIDRs"] == ["172.20.0.0/16"]
    assert cluster["serviceCIDRs"] == ["172.21.0.0/16"]
    assert cluster["nodeCIDRs"] == ["172.19.1.0/24"]


def test_another_clusters_addresses(host: Host, cluster: Cluster, cli: Cli) -> None:
    """K2s can be installed with other networks: its agents would refuse to enforce."""
    cluster.service_cidrs = ["10.96.0.0/12"]
    for number, node in enumerate(cluster.nodes):
        node.address, node.pod_cidr = f"192.168.7.{number + 10}", f"10.244.{number}.0/24"
    assert cli.enable().error == ""
    found = in_effect(host)["cluster"]
    assert {"10.244.0.0/24", "10.244.1.0/24"} <= set(found["podCIDRs"])
    assert "10.96.0.0/12" in found["serviceCIDRs"]
    assert {"192.168.7.10/32", "192.168.7.11/32"} <= set(found["nodeCIDRs"])


def test_a_users_addresses_win(host: Host, cluster: Cluster, cli: Cli, written: Written) -> None:
    cluster.service_cidrs = ["10.96.0.0/12"]
    given = {"cluster": {"serviceCIDRs": ["10.0.0.0/8"]}}
    assert cli.enable({"values": written(given)}).error == ""
    assert in_effect(host)["cluster"]["serviceCIDRs"] == ["10.0.0.0/8"]


def test_no_temporary_file_stays(host: Host, cli: Cli, written: Written) -> None:
    """A policy is nobody's business who can read the temporary folder."""
    given = written({"rules": [RULE]})
    host.fail("helm upgrade", "Error: no")
    assert cli.enable({"values": given}).code == 1
    assert cli.enable({"values": given}).code == 0
    files = {
        Path(words[at + 1])
        for call in host.calls
        for words in [call.given.get("Params", [])]
        for at, word in enumerate(words)
        if word == "-f" and call.name == "helm"
    } - {Path(given)}
    assert files
    assert [path for path in files if path.exists() or path.parent.exists()] == []


@pytest.mark.parametrize("values", ["rules: [", "- a list"])
def test_errors_name_the_users_file(cli: Cli, written: Written, values: str) -> None:
    path = written(values, "my policy.yaml")
    outcome = cli.enable({"values": path})
    assert path in outcome.error
    assert tempfile.gettempdir() + "/udp-security-" not in outcome.error


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16(k2s: K2s, host: Host, cli: Cli, tmp_path: Path, encoding: str) -> None:
    """As Windows PowerShell's > writes."""
    path = tmp_path / "values.yaml"
    path.write_text(("" if encoding == "utf-16" else "\ufeff") + "mode: audit\n", encoding)
    outcome = cli.enable({"values": str(path)})
    assert (outcome.code, outcome.id) == (1, "addon-invalid-parameter")
    assert str(path) in outcome.error
    assert "save it as UTF-8" in outcome.error
    assert nothing_was_applied(k2s, host)


def test_nothing_is_governed(cli: Cli, written: Written) -> None:
    off = {"enabled": False}
    outcome = cli.enable({"values": written({"linux": off, "windows": off})})
    assert outcome.error == ""
    assert "Nothing is denied" in outcome.text


def test_a_kubernetes_without_service_cidrs(host: Host, cli: Cli) -> None:
    says = 'error: the server doesn\'t have a resource type "servicecidrs"'
    host.fail("kubectl get servicecidrs", says)
    assert cli.enable().error == ""
    assert host.helm.revisions()[-1].values == {}


def test_service_cidrs_that_cannot_be_read(host: Host, cli: Cli) -> None:
    host.fail("kubectl get servicecidrs", "Unable to connect to the server: EOF")
    outcome = cli.enable()
    assert outcome.error == ""
    assert "does not tell its service CIDRs, so the policy's own are taken" in outcome.text
    assert "EOF" in outcome.text


def test_keys_that_differ_in_case(host: Host, cli: Cli, written: Written) -> None:
    """Kubernetes tells them apart. (The cluster's nodes always have such labels here.)"""
    values = {"linux": {"podAnnotations": {"Owner": "a", "owner": "b"}}}
    assert cli.enable({"values": written(values)}).error == ""
    assert host.helm.revisions()[-1].values == values
    properties = cli.status().properties
    assert properties
    assert [p["Name"] for p in properties if p["Okay"] is False] == []
