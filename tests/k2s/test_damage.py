# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""An installation that is damaged or does not answer: every script says so, once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.k2s.artifact_places import ADDON
from tests.k2s.cli import ERROR, Cli, Outcome
from tests.k2s.host import Host
from tests.k2s.scripts import threw
from tests.k2s.tree import K2s

OWN = ["udp-security.module.psm1", *sorted(f"modules/{p.name}" for p in ADDON.glob("modules/*"))]
COMMANDS: dict[str, Callable[[Cli, Path], Outcome]] = {
    "Enable.ps1": lambda cli, folder: cli.enable(),
    "Disable.ps1": lambda cli, folder: cli.disable(),
    "Backup.ps1": lambda cli, folder: cli.backup(folder / "backup"),
    "Restore.ps1": lambda cli, folder: cli.script("Restore.ps1", [f"-BackupDir '{folder}'"]),
    "EnableForRestore.ps1": lambda cli, folder: cli.script(
        "EnableForRestore.ps1", [f"-BackupDir '{folder}'"]
    ),
}


def options(name: str, folder: Path) -> list[str]:
    return [f"-BackupDir '{folder}'"] if name not in ("Enable.ps1", "Disable.ps1") else []


@pytest.mark.parametrize("lost", ["udp-security.module.psm1", "modules/Removal.psm1"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_lost_module(
    k2s: K2s, cli: Cli, host: Host, tmp_path: Path, name: str, lost: str
) -> None:
    (k2s.addon / lost).unlink()
    outcome = COMMANDS[name](cli, tmp_path)
    assert outcome.code == 1
    assert Path(lost).name in outcome.error + outcome.text
    assert len(host.said("Send-ToCli")) <= 1
    assert threw(k2s, name, *options(name, tmp_path))
    assert k2s.nothing_left()


@pytest.mark.parametrize("lost", OWN)
def test_each_module(k2s: K2s, cli: Cli, lost: str) -> None:
    """A broken file is as bad as a lost one."""
    (k2s.addon / lost).write_text("function {\n")
    assert cli.enable().code == 1
    assert k2s.nothing_left()


@pytest.mark.parametrize("lost", OWN)
def test_the_status(k2s: K2s, cli: Cli, lost: str) -> None:
    k2s.be_enabled()
    (k2s.addon / lost).unlink()
    outcome = cli.status()
    assert outcome.error == ""
    assert outcome.properties
    (found,) = outcome.properties
    assert found["Okay"] is False
    assert Path(lost).name in found["Message"]


@pytest.mark.parametrize("function", ["Test-SystemAvailability", "Test-IsAddonEnabled"])
@pytest.mark.parametrize("name", ["Enable.ps1", "Disable.ps1", "Backup.ps1"])
def test_k2s_itself_throws(
    k2s: K2s, cli: Cli, host: Host, tmp_path: Path, name: str, function: str
) -> None:
    host.fail(function, "setup.json is damaged")
    outcome = COMMANDS[name](cli, tmp_path)
    assert (outcome.code, outcome.severity) == (1, ERROR)
    assert outcome.error == "setup.json is damaged"
    assert len(host.said("Send-ToCli")) == 1
    assert k2s.nothing_left()
