# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`k2s addons ...` as K2s's command line does it: which PowerShell it runs, what it makes of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from tests.k2s.cluster import NAMESPACE
from tests.k2s.decoding import DecodingError, decode, status_properties
from tests.k2s.tree import K2s

WARNING: Final = 3
ERROR: Final = 4


class UsageError(Exception):
    """The command line refuses its arguments, and runs nothing."""


@dataclass
class Outcome:
    """What a user gets: the exit code, the error, if any, and what the console shows."""

    code: int = 0
    error: str = ""
    severity: int = 0
    id: str = ""
    console: list[str] = field(default_factory=list)
    properties: list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        return "\n".join(self.console)


class Cli:
    """The command `k2s` of an installation."""

    def __init__(self, k2s: K2s) -> None:
        self._k2s = k2s
        path = k2s.addon / "addon.manifest.yaml"
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        (implementation,) = manifest["spec"]["implementations"]
        self._commands: dict[str, Any] = implementation["commands"]

    def enable(self, flags: Mapping[str, object] | None = None, *, output: bool = False) -> Outcome:
        """`k2s addons enable udp-security`; raises UsageError."""
        return self._switch("enable", flags or {}, output)

    def disable(self, *, output: bool = False) -> Outcome:
        return self._switch("disable", {}, output)

    def status(self) -> Outcome:
        """`k2s addons status udp-security`; `properties` is None when it is disabled."""
        root = self._k2s.root
        options = [f"-Name {NAMESPACE}", f"-Directory {quoted(str(self._k2s.addon))}"]
        outcome, message = self._run(root / "addons" / "Get-Status.ps1", options, "AddonStatus")
        if message is None:
            return outcome
        if message["Error"]:
            return _failed(outcome, message["Error"])
        if message["Enabled"]:
            try:
                outcome.properties = status_properties(message["Props"])
            except DecodingError as error:
                outcome.code, outcome.error = 1, str(error)
        return outcome

    def backup(self, archive: Path) -> Outcome:
        """Write a zip without suffix; the folder in which the addon's script wrote must be one."""
        staging = self._k2s.program_data / "staging '1'"
        staging.mkdir()
        try:
            outcome = self.script("Backup.ps1", [f"-BackupDir {quoted(str(staging))}"])
            if not outcome.code:
                read_backup(staging)
                shutil.make_archive(str(archive), "zip", staging)
        finally:
            shutil.rmtree(staging)
        return outcome

    def restore(self, archive: Path) -> Outcome:
        """Restore from a zip (given without suffix)."""
        staging = self._k2s.program_data / "staging '2'"
        shutil.unpack_archive(f"{archive}.zip", staging)
        try:
            return self.restore_from(staging)
        finally:
            shutil.rmtree(staging)

    def restore_from(self, staging: Path) -> Outcome:
        """Restore from an unpacked backup. Raises ValueError where K2s refuses it by itself."""
        if read_backup(staging)["addon"].lower() != NAMESPACE:
            raise ValueError("backup is for another addon")
        if self._k2s.enabled():
            return Outcome(1, f"addon '{NAMESPACE}' must be disabled before restore")
        options = [f" -BackupDir {quoted(str(staging))}"]
        first = self.script("EnableForRestore.ps1", options)
        return first if first.code else self.script("Restore.ps1", options)

    def command_line(self, script: Path, options: list[str], kind: str) -> str:
        """What PowerShell is given: the command in double quotes, in which nothing is escaped."""
        wrapper = self._k2s.root / "lib" / "scripts" / "k2s" / "base" / "Invoke-ExecScript.ps1"
        words = [f"&{quoted(str(script))}", "-EncodeStructuredOutput", f"-MessageType {kind}"]
        return f"&'{wrapper}' -Script \"{' '.join([*words, *options])}\""

    def options(self, command: str, flags: Mapping[str, object]) -> list[str]:
        """The script's parameters for flags that a user set, in their order."""
        config = self._commands[command]
        known = {flag["name"]: flag for flag in config.get("cli", {}).get("flags", [])}
        mapped = {
            mapping["cliFlagName"]: mapping["scriptParameterName"]
            for mapping in config["script"].get("parameterMappings", [])
        }
        found = []
        for name, value in flags.items():
            if name not in known:
                raise UsageError(f"unknown flag: --{name}")
            _validate(known[name], value)
            if name in mapped:
                found.append(option(mapped[name], value))
        return found

    def _switch(self, command: str, flags: Mapping[str, object], output: bool) -> Outcome:
        options = self.options(command, flags) + (["-ShowLogs"] if output else [])
        return self.script(self._commands[command]["script"]["subPath"], options)

    def script(self, name: str, options: list[str]) -> Outcome:
        """Run one of the addon's scripts, and take its result."""
        outcome, message = self._run(self._k2s.addon / name, options, "CmdResult")
        if message is None:
            return outcome
        if message.keys() != {"Error"}:
            return Outcome(1, f"the message is no result: {message}", console=outcome.console)
        return _failed(outcome, message["Error"]) if message["Error"] else outcome

    def _run(self, script: Path, options: list[str], kind: str) -> tuple[Outcome, Any]:
        done = self._k2s.pwsh("-Command", self.command_line(script, options, kind))
        outcome = Outcome(console=_console(done))
        if done.returncode:
            outcome.code, outcome.error = 1, f"command failed: exit status {done.returncode}"
            return outcome, None
        try:
            return outcome, decode(done.stdout.splitlines(), kind)
        except DecodingError as error:
            outcome.code, outcome.error = 1, str(error)
            return outcome, None


def quoted(text: str) -> str:
    """In single quotes, as a string's value and a path are passed."""
    return "'" + text.replace("'", "''") + "'"


def option(parameter: str, value: object) -> str:
    """A parameter of a script with a flag's value."""
    if isinstance(value, bool):
        # Inside the double quotes $false becomes its text.
        return f"-{parameter}" if value else f"-{parameter}:$false"
    return f"-{parameter} {quoted(value) if isinstance(value, str) else value}"


def read_backup(folder: Path) -> dict[str, Any]:
    """backup.json, checked as K2s does. Raises ValueError."""
    path = folder / "backup.json"
    if not path.exists():
        raise ValueError("missing required backup.json")
    backup: dict[str, Any] = json.loads(path.read_text(encoding="utf-8-sig"))
    for key in ("k2sVersion", "addon"):
        if not str(backup.get(key) or "").strip():
            raise ValueError(f"invalid backup.json: missing {key!r}")
    if not isinstance(backup.get("files"), list):
        raise ValueError("invalid backup.json: missing 'files'")
    return backup


def _validate(flag: dict[str, Any], value: object) -> None:
    if type(value) is not type(flag["default"]):
        raise UsageError(f"invalid argument {value!r} for --{flag['name']}")
    constraints = flag.get("constraints", {})
    allowed = constraints.get("validationSet")
    if allowed and value not in allowed:
        raise UsageError(f"validation error for flag '{flag['name']}'")
    limits = constraints.get("range")
    if limits and not limits["min"] <= value <= limits["max"]:
        raise UsageError(f"validation error for flag '{flag['name']}'")


def _failed(outcome: Outcome, error: Mapping[str, Any]) -> Outcome:
    if error.keys() != {"Severity", "Code", "Message"} or error["Severity"] not in (WARNING, ERROR):
        outcome.code, outcome.error = 1, f"no error: {error}"
        return outcome
    outcome.code, outcome.severity = 1, error["Severity"]
    outcome.id, outcome.error = error["Code"], error["Message"]
    return outcome


def _console(done: subprocess.CompletedProcess[str]) -> list[str]:
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    return [line for line in lines if not line.startswith("#pm#")]
