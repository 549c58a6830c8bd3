# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The addon as `udp-security package` and K2s's import bring it: its whole life from there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.k2s import artifact_reader
from tests.k2s.cli import Cli
from tests.k2s.tree import HOOK, K2s

from udp_security.cli.main import cli as command


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> artifact_reader.Artifact:
    folder = tmp_path_factory.mktemp("package")
    done = CliRunner().invoke(command, ["package", "--output", str(folder)])
    assert done.exit_code == 0, done.output
    (path,) = folder.glob("*.oci.tar")
    return artifact_reader.read(path)


@pytest.fixture
def imported(k2s: K2s, artifact: artifact_reader.Artifact) -> K2s:
    """A K2s with nothing of the addon but what the import unpacks."""
    shutil.rmtree(k2s.addon)
    assert artifact.import_into(k2s.root / "addons") == k2s.addon
    return k2s


def test_its_life(imported: K2s, tmp_path: Path) -> None:
    cli = Cli(imported)
    outcome = cli.enable({"mode": "audit"})
    assert (outcome.error, outcome.code) == ("", 0)
    assert (imported.hooks / HOOK).exists()
    assert cli.backup(tmp_path / "backup").error == ""
    assert cli.disable().error == ""
    assert imported.nothing_left()
    assert cli.restore(tmp_path / "backup").error == ""
    assert imported.in_force() == {"kubemaster": "audit", "winhost": "audit"}
    properties = cli.status().properties
    assert properties
    assert [p["Name"] for p in properties if p["Okay"] is False] == []


def test_over_an_older_import(k2s: K2s, artifact: artifact_reader.Artifact, tmp_path: Path) -> None:
    """An import deletes nothing."""
    charts = k2s.addon / "manifests" / "chart"
    (chart,) = charts.glob("*.tgz")
    chart.rename(charts / "udp-security-0.0.1.tgz")
    artifact.import_into(k2s.root / "addons")
    assert Cli(k2s).enable().error == ""
    assert k2s.host.helm.revisions()[-1].chart.name == chart.name
