# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`k2s addons backup` and `restore`."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.k2s.cli import ERROR, WARNING, Cli, Outcome, quoted, read_backup
from tests.k2s.cluster import Cluster, Node, Policy
from tests.k2s.helm import computed
from tests.k2s.host import Host
from tests.k2s.scripts import run
from tests.k2s.tree import K2s, installed

RULES = [
    {
        "name": "syslog",
        "direction": "ingress",
        "ports": [514, "5000-5100"],
        "from": ["10.1.0.0/16"],
    },
    {"name": "odd", "description": 'für "Größe": $x \\ 無線', "direction": "egress", "ports": [9]},
]


def policies(k2s: K2s) -> dict[str, Policy]:
    return {node.name: node.rules for node in k2s.cluster.nodes if node.rules}


def in_effect(host: Host) -> dict[str, Any]:
    revision = host.helm.revisions()[-1]
    return computed(revision.chart, revision.values)


def written(k2s: K2s, folder: Path) -> dict[str, Any]:
    """What Backup.ps1 writes into a folder as backup.json."""
    done = run(k2s, "Backup.ps1", f"-BackupDir {quoted(str(folder))}")
    assert (done.returncode, done.stderr) == (0, "")
    return read_backup(folder)


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        (None, {}),
        (None, {"mode": "audit"}),
        ({"rules": RULES, "presets": {"ntp": False}}, {}),
        ({"rules": RULES, "mode": "audit"}, {"mode": "enforce"}),
        ({"cluster": {"podCIDRs": ["172.20.0.0/16", "10.9.0.0/16"]}}, {}),
    ],
    ids=["defaults", "mode", "rules", "both", "addresses"],
)
def test_round_trip(
    k2s: K2s, host: Host, cli: Cli, tmp_path: Path, values: object, flags: dict[str, object]
) -> None:
    path = tmp_path / "users.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    assert cli.enable({**flags, **({"values": str(path)} if values else {})}).error == ""
    # The backup must not need it.
    path.unlink()
    before, values_before = policies(k2s), in_effect(host)
    assert cli.backup(tmp_path / "backup").error == ""
    assert cli.disable().error == ""
    outcome = cli.restore(tmp_path / "backup")
    assert (outcome.error, outcome.code) == ("", 0)
    assert policies(k2s) == before
    assert in_effect(host) == values_before
    assert k2s.enabled()


def test_what_is_in_it(k2s: K2s, cli: Cli, tmp_path: Path) -> None:
    k2s.be_enabled({"rules": RULES, "mode": "audit"})
    assert cli.backup(tmp_path / "backup").error == ""
    with zipfile.ZipFile(tmp_path / "backup.zip") as archive:
        backup = json.loads(archive.read("backup.json"))
        assert {"backup.json", *backup["files"]} == set(archive.namelist()) - {"./"}
        values = yaml.safe_load(archive.read(backup["files"][0]))
    assert backup["k2sVersion"] == "v2.0.0"
    assert backup["addon"] == "udp-security"
    assert datetime.fromisoformat(backup["createdAt"].split(".")[0])
    assert backup["enableParams"]["mode"] == "audit"
    assert values == {"rules": RULES}


def test_no_values_no_files(k2s: K2s, tmp_path: Path) -> None:
    k2s.be_enabled()
    backup = written(k2s, tmp_path / "new folder")
    assert backup["files"] == []
    assert os.listdir(tmp_path / "new folder") == ["backup.json"]


def test_plain_json(k2s: K2s, tmp_path: Path) -> None:
    k2s.be_enabled({"rules": RULES})
    written(k2s, tmp_path / "b")
    for path in (tmp_path / "b").iterdir():
        assert not path.read_bytes().startswith(b"\xef\xbb\xbf")


def test_what_a_helm_user_changed_is_in_it(k2s: K2s, host: Host, tmp_path: Path) -> None:
    k2s.be_enabled()
    chart = str(host.helm.revisions()[-1].chart)
    place = ["-n", "udp-security", "--set", "denyAction=reject", "--server-side=true"]
    host.helm.run(["upgrade", "udp-security", chart, *place])
    written(k2s, tmp_path / "b")
    assert yaml.safe_load((tmp_path / "b" / "values.yaml").read_text()) == {"denyAction": "reject"}


def test_a_cluster_with_other_addresses(
    k2s: K2s, host: Host, cluster: Cluster, cli: Cli, tmp_path: Path
) -> None:
    """The addresses that Enable found itself belong to that cluster, not into the backup."""
    cluster.service_cidrs = ["10.96.0.0/12"]
    path = tmp_path / "users.yaml"
    path.write_text(yaml.safe_dump({"rules": RULES}))
    assert cli.enable({"values": str(path)}).error == ""
    assert cli.backup(tmp_path / "backup").error == ""
    assert cli.disable().error == ""
    cluster.service_cidrs = ["10.200.0.0/16"]
    assert cli.restore(tmp_path / "backup").error == ""
    assert in_effect(host)["cluster"]["serviceCIDRs"] == ["10.200.0.0/16"]
    assert in_effect(host)["rules"] == RULES


def worker(cluster: Cluster, address: str) -> str:
    """Make a node with this address, outside the chart's own, the only worker. Its CIDR."""
    cluster.pods = [pod for pod in cluster.pods if pod.node.name != "worker"]
    cluster.nodes = [node for node in cluster.nodes if node.name != "worker"]
    cluster.nodes.append(Node("worker", "linux", address, "172.20.7.0/24"))
    cluster.settle()
    return f"{address}/32"


def test_nodes_come_and_go(
    k2s: K2s, host: Host, cluster: Cluster, cli: Cli, tmp_path: Path
) -> None:
    """A user's own CIDRs are in the backup, but none of the nodes that were there then."""
    own = ["172.19.1.0/24", "10.50.0.0/16"]
    k2s.be_enabled({"cluster": {"nodeCIDRs": own}})
    old = worker(cluster, "192.168.178.5")
    assert run(k2s, "Update.ps1").returncode == 0
    assert in_effect(host)["cluster"]["nodeCIDRs"] == [*own, old]
    written(k2s, tmp_path / "b")
    k2s.write_setup({**k2s.setup(), "EnabledAddons": []})
    new = worker(cluster, "192.168.178.6")
    assert cli.restore_from(tmp_path / "b").error == ""
    assert in_effect(host)["cluster"]["nodeCIDRs"] == [*own, new]


def test_a_node_that_left_before(
    k2s: K2s, host: Host, cluster: Cluster, cli: Cli, tmp_path: Path
) -> None:
    """Nobody knows any more who gave its address: it stays, as it stays in the policy."""
    old = "192.168.178.5/32"
    k2s.be_enabled({"cluster": {"nodeCIDRs": ["172.19.1.0/24", old]}})
    new = worker(cluster, "192.168.178.6")
    written(k2s, tmp_path / "b")
    k2s.write_setup({**k2s.setup(), "EnabledAddons": []})
    assert cli.restore_from(tmp_path / "b").error == ""
    assert in_effect(host)["cluster"]["nodeCIDRs"] == ["172.19.1.0/24", old, new]


def test_keys_that_differ_in_case(k2s: K2s, tmp_path: Path) -> None:
    """Kubernetes tells them apart; PowerShell's own reader of JSON fails."""
    values = {"linux": {"podAnnotations": {"Owner": "a", "owner": "b", "c": " ", "d": "1/\\/2"}}}
    k2s.be_enabled(values)
    written(k2s, tmp_path / "b")
    text = (tmp_path / "b" / "values.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == json.loads(text) == values


def test_a_backup_of_the_disabled_addon(cli: Cli, tmp_path: Path) -> None:
    outcome = cli.backup(tmp_path / "backup")
    assert (outcome.code, outcome.id) == (1, "addon-not-enabled")
    words = "Addon 'udp-security' is not enabled. Enable it before running backup."
    assert outcome.error == words


@pytest.mark.parametrize("enabled", [True, False])
def test_a_system_that_is_not_running(
    k2s: K2s, host: Host, cli: Cli, tmp_path: Path, enabled: bool
) -> None:
    k2s.be_enabled()
    written(k2s, tmp_path / "b")
    if not enabled:
        k2s.write_setup({**k2s.setup(), "EnabledAddons": []})
    host.running = False
    outcome = cli.backup(tmp_path / "backup") if enabled else cli.restore_from(tmp_path / "b")
    assert (outcome.code, outcome.severity, outcome.id) == (1, WARNING, "system-not-running")


@pytest.mark.parametrize("words", ["helm get values", "kubectl get nodes"])
def test_a_question_is_not_answered(
    k2s: K2s, host: Host, cli: Cli, tmp_path: Path, words: str
) -> None:
    k2s.be_enabled({"rules": RULES, "cluster": {"podCIDRs": ["172.20.0.0/16"]}})
    host.fail(words, "Unable to connect to the server: EOF")
    outcome = cli.backup(tmp_path / "backup")
    assert (outcome.code, outcome.severity, outcome.id) == (1, ERROR, "addon-backup-failed")
    assert "EOF" in outcome.error


def test_a_full_disk(k2s: K2s, tmp_path: Path) -> None:
    """Without backup.json, what is in the folder passes as no backup."""
    k2s.be_enabled({"rules": RULES})
    folder = tmp_path / "b"
    written(k2s, folder)
    (folder / "values.yaml").unlink()
    (folder / "values.yaml").symlink_to("/dev/full")
    done = run(k2s, "Backup.ps1", f"-BackupDir {quoted(str(folder))}")
    assert done.returncode == 1
    assert "No space left on device" in done.stdout + done.stderr
    assert not (folder / "backup.json").exists()


def test_a_full_disk_through_the_cli(
    k2s: K2s, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    k2s.be_enabled({"rules": RULES})
    make = Path.mkdir

    def mkdir(self: Path, *args: Any, **options: Any) -> None:
        make(self, *args, **options)
        if self.name.startswith("staging"):
            (self / "values.yaml").symlink_to("/dev/full")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    outcome = cli.backup(tmp_path / "backup")
    assert (outcome.code, outcome.severity, outcome.id) == (1, ERROR, "addon-backup-failed")
    assert "No space left on device" in outcome.error


# Restoring


@pytest.fixture(scope="module")
def original(pwsh: str, helm: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a good backup."""
    folder = tmp_path_factory.mktemp("original")
    with installed(folder) as k2s:
        k2s.be_enabled({"rules": RULES, "mode": "audit"})
        written(k2s, folder / "backup")
    return folder / "backup"


@pytest.fixture
def backup(k2s: K2s, original: Path, tmp_path: Path) -> Path:
    """A folder with a good backup of the addon, which is disabled by now."""
    return shutil.copytree(original, tmp_path / "backup of it")


def change(backup: Path, **members: object) -> None:
    """Change members of backup.json; None takes one away."""
    path = backup / "backup.json"
    document = {**json.loads(path.read_text(encoding="utf-8")), **members}
    kept = {key: value for key, value in document.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def refused(k2s: K2s, outcome: Outcome, *words: str) -> bool:
    """Whether restoring failed with these words, and enabled nothing."""
    assert (outcome.code, outcome.severity) == (1, ERROR)
    assert all(word in outcome.error for word in words), outcome.error
    return k2s.nothing_left()


def test_enabled_still(k2s: K2s, cli: Cli, backup: Path) -> None:
    k2s.be_enabled()
    outcome = cli.restore_from(backup)
    assert outcome.code == 1
    assert "disable" in outcome.error


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "null", "\x00\x01\x02"], ids=repr)
def test_a_damaged_backup_json(k2s: K2s, backup: Path, text: str) -> None:
    """K2s itself would refuse these; a script may be run without it."""
    (backup / "backup.json").write_text(text, encoding="utf-8")
    done = run(k2s, "EnableForRestore.ps1", f"-BackupDir {quoted(str(backup))}")
    assert done.returncode == 1
    assert "backup.json" in done.stdout + done.stderr
    assert k2s.nothing_left()


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"enableParams": {"mode": "warn"}}, "warn"),
        ({"enableParams": {"mode": "AUDIT", "values": "values.yaml"}}, "AUDIT"),
        ({"enableParams": {"values": "../values.yaml"}}, "backup.json"),
        ({"enableParams": {"values": "/etc/passwd"}}, "backup.json"),
        ({"files": ["other.yaml"], "enableParams": {}}, "backup.json"),
    ],
    ids=["mode", "case", "outside", "absolute", "unnamed"],
)
def test_a_backup_json_with_wrong_members(
    k2s: K2s, cli: Cli, backup: Path, members: dict[str, object], word: str
) -> None:
    change(backup, **members)
    assert refused(k2s, cli.restore_from(backup), word)


def test_a_lost_values_file(k2s: K2s, cli: Cli, backup: Path) -> None:
    """The defaults would be another policy."""
    (backup / "values.yaml").unlink()
    assert refused(k2s, cli.restore_from(backup), "values.yaml", "not found")


@pytest.mark.parametrize(
    "text", ["rules: [", "- x\n", "rulez: []\n", '{"cluster": {"nodeCIDRs": ["values"]}}']
)
def test_a_damaged_values_file(k2s: K2s, cli: Cli, backup: Path, text: str) -> None:
    change(backup, valuesSha256=None)
    (backup / "values.yaml").write_text(text)
    assert refused(k2s, cli.restore_from(backup), "values")


@pytest.mark.parametrize("text", ["", " \n# x: 1\n", "---\nnull # x\n", "{ }"], ids=repr)
def test_an_empty_values_file(k2s: K2s, backup: Path, text: str) -> None:
    """The defaults would be another policy."""
    change(backup, valuesSha256=None)
    (backup / "values.yaml").write_text(text)
    done = run(k2s, "EnableForRestore.ps1", f"-BackupDir {quoted(str(backup))}")
    assert done.returncode == 1
    assert "has no values" in done.stdout + done.stderr
    assert k2s.nothing_left()


def test_any_damage_of_the_values_file(k2s: K2s, cli: Cli, backup: Path) -> None:
    """Also such that Helm would take for a policy."""
    path = backup / "values.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("10.1.0.0", "10.0.0.0"), encoding="utf-8")
    assert text != path.read_text(encoding="utf-8")
    assert refused(k2s, cli.restore_from(backup), "values.yaml", "valuesSha256")


def test_an_empty_folder(k2s: K2s, tmp_path: Path) -> None:
    done = run(k2s, "EnableForRestore.ps1", f"-BackupDir {quoted(str(tmp_path))}")
    assert done.returncode == 1
    assert "backup.json not found" in done.stdout + done.stderr
    assert k2s.nothing_left()


def test_another_addons_backup(k2s: K2s, cli: Cli, backup: Path) -> None:
    change(backup, addon="registry")
    with pytest.raises(ValueError, match="another addon"):
        cli.restore_from(backup)
    done = run(k2s, "EnableForRestore.ps1", f"-BackupDir {quoted(str(backup))}")
    assert done.returncode == 1
    assert "registry" in done.stdout + done.stderr
    assert k2s.nothing_left()


def test_a_backup_of_an_older_version(k2s: K2s, cli: Cli, backup: Path) -> None:
    """Members that nobody knows any more are no reason, nor is the version."""
    change(backup, k2sVersion="v1.5.0", createdAt=None, valuesSha256=None, schema=0, x={"y": [1]})
    assert cli.restore_from(backup).error == ""
    assert set(k2s.in_force().values()) == {"audit"}


def test_an_older_backup_without_parameters(k2s: K2s, cli: Cli, backup: Path) -> None:
    change(backup, enableParams=None, files=[])
    (backup / "values.yaml").unlink()
    assert cli.restore_from(backup).error == ""
    assert set(k2s.in_force().values()) == {"enforce"}


def test_an_older_backup_whose_values_are_refused_now(k2s: K2s, cli: Cli, backup: Path) -> None:
    """Helm says which; the file is there to be corrected, and the sum to be taken away."""
    change(backup, valuesSha256=None)
    (backup / "values.yaml").write_text("denyActions: drop\n")
    assert refused(k2s, cli.restore_from(backup), "denyActions")
    assert (backup / "values.yaml").exists()


def test_over_an_older_release(k2s: K2s, cli: Cli, host: Host, backup: Path) -> None:
    """A release that is there already, with values of its own, gets those of the backup."""
    k2s.be_enabled()
    k2s.write_setup({**k2s.setup(), "EnabledAddons": []})
    assert cli.restore_from(backup).error == ""
    assert in_effect(host)["rules"] == RULES
    assert set(k2s.in_force().values()) == {"audit"}


def test_a_backup_of_defaults_over_an_older_release(
    k2s: K2s, cli: Cli, host: Host, tmp_path: Path
) -> None:
    k2s.be_enabled()
    written(k2s, tmp_path / "defaults")
    k2s.be_enabled({"rules": RULES, "mode": "audit"})
    k2s.write_setup({**k2s.setup(), "EnabledAddons": []})
    assert cli.restore_from(tmp_path / "defaults").error == ""
    assert host.helm.revisions()[-1].values == {}
    assert set(k2s.in_force().values()) == {"enforce"}


def test_restoring_over_other_values(k2s: K2s, backup: Path) -> None:
    """Restore.ps1 alone does not take an enabled addon with another policy for restored."""
    k2s.be_enabled({"rules": RULES[:1], "mode": "audit"})
    done = run(k2s, "Restore.ps1", f"-BackupDir {quoted(str(backup))}")
    assert done.returncode == 1
    assert "disable the addon and restore again" in done.stdout + done.stderr


def test_an_agent_refuses(k2s: K2s, cli: Cli, cluster: Cluster, backup: Path) -> None:
    cluster.node("kubemaster").refuses = "no nftables"
    assert refused(k2s, cli.restore_from(backup), "no nftables")


def test_restore_alone(k2s: K2s, backup: Path) -> None:
    """Restore.ps1 enables nothing: EnableForRestore.ps1 has to."""
    done = run(k2s, "Restore.ps1", f"-BackupDir {quoted(str(backup))}")
    assert done.returncode == 1
    assert "not enabled" in done.stdout + done.stderr


def test_a_policy_that_went_out_of_force_in_between(
    k2s: K2s, cli: Cli, cluster: Cluster, backup: Path
) -> None:
    done = run(k2s, "EnableForRestore.ps1", f"-BackupDir {quoted(str(backup))}")
    assert done.returncode == 0
    cluster.node("kubemaster").put_in_force(None)
    cluster.node("kubemaster").refuses = "no nftables"
    cluster.settle()
    done = run(k2s, "Restore.ps1", f"-BackupDir {quoted(str(backup))}")
    assert done.returncode == 1
    assert "no nftables" in done.stdout + done.stderr


def test_the_backup_stays_as_it_is(k2s: K2s, cli: Cli, backup: Path, tmp_path: Path) -> None:
    shutil.copytree(backup, tmp_path / "copy")
    assert cli.restore_from(backup).error == ""
    for path in (tmp_path / "copy").iterdir():
        assert (backup / path.name).read_bytes() == path.read_bytes()
