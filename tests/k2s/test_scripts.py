# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The scripts' shape: their parameters, help and requirements, read by PowerShell's parser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.k2s.artifact_places import ADDON

from udp_security.windows import pwsh as powershell

_READER = Path(__file__).with_name("read_scripts.ps1")
SCRIPTS = sorted(ADDON.glob("*.ps1")) + sorted((ADDON / "hooks").glob("*.ps1"))
MODULES = sorted(ADDON.glob("*.psm1")) + sorted((ADDON / "modules").glob("*.psm1"))

ENCODING = {"EncodeStructuredOutput": "SwitchParameter", "MessageType": "String"}
FLAGS = {"Mode": "String", "Values": "String", "Timeout": "Int32"}
BACKUP = {"BackupDir": "String", "ShowLogs": "SwitchParameter", **ENCODING}
PARAMETERS: dict[str, dict[str, str]] = {
    "Enable.ps1": {"ShowLogs": "SwitchParameter", **FLAGS, "Config": "PSObject", **ENCODING},
    "Disable.ps1": {"ShowLogs": "SwitchParameter", **ENCODING},
    "Get-Status.ps1": {},
    "Update.ps1": {},
    "Backup.ps1": BACKUP,
    "Restore.ps1": BACKUP,
    "EnableForRestore.ps1": {**BACKUP, "Config": "PSObject"},
    "udp-security.AfterUninstall.ps1": {},
}


@pytest.fixture(scope="module")
def read(pwsh: str) -> dict[str, dict[str, Any]]:
    """What the parser finds in each script and module."""
    files = "|".join(str(path) for path in SCRIPTS + MODULES)
    done = powershell.run(["-File", str(_READER), files], timeout=60)
    assert done.returncode == 0, done.stderr
    return {found["name"]: found for found in json.loads(done.stdout)}


def test_all_are_there() -> None:
    assert {path.name for path in SCRIPTS} == PARAMETERS.keys()
    assert (ADDON / "udp-security.module.psm1") in MODULES


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(read: dict[str, dict[str, Any]], name: str) -> None:
    found = {p["name"]: p["type"] for p in read[name]["parameters"]}
    assert found == PARAMETERS[name]
    mandatory = [p["name"] for p in read[name]["parameters"] if p["mandatory"]]
    assert mandatory == (["BackupDir"] if name in ("Backup.ps1", "Restore.ps1") else [])


@pytest.mark.parametrize("name", PARAMETERS)
def test_conventions(read: dict[str, dict[str, Any]], name: str) -> None:
    script = read[name]
    assert script["errors"] == []
    assert script["administrator"]
    assert script["synopsis"].strip()
    assert script["examples"] >= 1
    names = [p["name"] for p in script["parameters"]]
    assert sorted(map(str.upper, script["described"])) == sorted(map(str.upper, names))
    assert [p["name"] for p in script["parameters"] if not p["help"]] == []


@pytest.mark.parametrize("name", [path.name for path in MODULES])
def test_modules(read: dict[str, dict[str, Any]], name: str) -> None:
    assert read[name]["errors"] == []
    assert read[name]["functions"]


def test_exported_functions_have_help(read: dict[str, dict[str, Any]]) -> None:
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        exported = text.rsplit("Export-ModuleMember", 1)[1]
        for function in read[path.name]["functions"]:
            if function["name"] in exported:
                assert function["synopsis"].strip(), function["name"]


def test_defaults_equal_the_manifests(read: dict[str, dict[str, Any]]) -> None:
    """The command line passes only what a user set."""
    manifest = yaml.safe_load((ADDON / "addon.manifest.yaml").read_text(encoding="utf-8"))
    (implementation,) = manifest["spec"]["implementations"]
    enable = implementation["commands"]["enable"]
    mapping = {
        m["cliFlagName"]: m["scriptParameterName"] for m in enable["script"]["parameterMappings"]
    }
    defaults = {p["name"]: p["default"].strip("'") for p in read["Enable.ps1"]["parameters"]}
    types = {p["name"]: p["type"] for p in read["Enable.ps1"]["parameters"]}
    expected = {str: "String", int: "Int32", bool: "SwitchParameter"}
    for flag in enable["cli"]["flags"]:
        parameter = mapping[flag["name"]]
        assert defaults[parameter] == str(flag["default"])
        assert types[parameter] == expected[type(flag["default"])]


def test_helm_and_kubectl_go_through_k2s() -> None:
    """It knows where they are, and which cluster is its own."""
    for path in SCRIPTS + MODULES:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not line.lstrip().startswith(("& helm", "& kubectl", "helm ", "kubectl "))
