# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A fake Windows computer: its state, what users and administrators do to it, and PowerShell there.

The fake cmdlets (tests/windows/modules) and this class share the state's file; the head of
modules/FakeWindows/State.ps1 says what it looks like.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from udp_security.windows import pwsh
from udp_security.windows.firewall import Firewall, FirewallRule, Profile

MODULES: Final = Path(__file__).with_name("modules")
ADDED, CHANGED, DELETED, ALL_DELETED = 2004, 2005, 2006, 2033

Record = dict[str, Any]  # a rule as the state has it, by the names of the cmdlets' parameters

_NEW_RULE: Final[Mapping[str, Any]] = {
    "DisplayName": "",
    "Description": None,
    "Group": None,
    "Enabled": "True",
    "Profile": "Any",
    "Direction": "Inbound",
    "Action": "Allow",
    "EdgeTraversalPolicy": "Block",
    "Store": "PersistentStore",
    "StoreType": "Local",
    "Protocol": "Any",
    "LocalPort": ["Any"],
    "RemotePort": ["Any"],
    "LocalAddress": ["Any"],
    "RemoteAddress": ["Any"],
    "Program": "Any",
    "Service": "Any",
    "InterfaceAlias": ["Any"],
    "InterfaceType": "Any",
}


class FakeWindows:
    """One computer, in a directory of its own. What is changed here is changed by hand."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "windows.json"
        profiles = [
            {"name": name, "active": name == "Public", "local": {"Enabled": "True"}, "policy": {}}
            for name in ("Domain", "Private", "Public")
        ]
        header = {
            "services": {"mpssvc": "Running", "BFE": "Running"},
            "profiles": profiles,
            "addresses": {"172.19.1.100": "Ethernet"},
            "faults": [],
        }
        self._write(header, [])

    # PowerShell

    def variables(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables that make a PowerShell run on this computer."""
        return {"FAKE_WINDOWS": str(self.path), "PSModulePath": str(MODULES), **(more or {})}

    def pwsh(
        self,
        script: str | Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a script's text, or pwsh with arguments (``["-File", path, ...]``), to its end."""
        arguments = ["-Command", script] if isinstance(script, str) else [str(a) for a in script]
        return pwsh.run(arguments, variables=self.variables(env), timeout=timeout)

    def json(self, script: str) -> Any:
        """What a script that must not fail prints, which is JSON."""
        result = self.pwsh(f"$ErrorActionPreference = 'Stop'\n{script}")
        assert result.returncode == 0, result.stderr or result.stdout
        return json.loads(result.stdout)

    # What users and administrators do

    def add(self, name: str, **settings: Any) -> None:
        """Add a rule of somebody else's, unchecked, in the form in which Windows prints it."""
        self.add_many([{"Name": name, **settings}])

    def add_many(self, records: Iterable[Record]) -> None:
        """As ``add`` for many rules at once; each record has a name and what is not the default."""
        with self._changing() as (_, rules):
            for record in records:
                rule = {**_NEW_RULE, "DisplayName": record["Name"], **record}
                rules.append(rule)
                self._journal(ADDED, rule["Name"], rule)

    def edit(self, name: str, **settings: Any) -> None:
        """Change settings of a rule."""
        with self._changing() as (_, rules):
            rule = next(rule for rule in rules if rule["Name"] == name)
            unknown = settings.keys() - rule.keys()
            assert not unknown, f"rules have no {unknown}"
            rule.update(settings)
            self._journal(CHANGED, name, rule)

    def delete(self, name: str) -> None:
        """Delete a rule."""
        with self._changing() as (_, rules):
            rules.remove(next(rule for rule in rules if rule["Name"] == name))
            self._journal(DELETED, name, None)

    def delete_all(self) -> None:
        """Delete every rule, as a reset of the firewall does, with its one event."""
        with self._changing() as (_, rules):
            rules.clear()
            self._journal(ALL_DELETED, "", None)

    def stop(self, *services: str) -> None:
        """Stop services."""
        with self._changing() as (header, _):
            header["services"].update(dict.fromkeys(services, "Stopped"))

    def start(self, *services: str) -> None:
        """Start services."""
        with self._changing() as (header, _):
            header["services"].update(dict.fromkeys(services, "Running"))

    def set_profile(self, *names: str, active: bool | None = None, **settings: Any) -> None:
        """Set an administrator's settings of profiles (``Enabled="False"``), or activate them."""
        self._set_profile(names, "local", active, settings)

    def set_group_policy(self, *names: str, **settings: Any) -> None:
        """Set settings of profiles by group policy, which overrides the administrator's."""
        self._set_profile(names, "policy", None, settings)

    def set_faults(self, *faults: Mapping[str, Any]) -> None:
        """Replace the faults. One is ``cmdlet``, ``call`` (from 1, counted from now), ``message``
        and, to kill the process instead, ``exit``."""
        with self._changing() as (header, _):
            header["faults"] = [
                {"exit": False, "message": "killed", **f, "seen": 0} for f in faults
            ]

    # What is there

    def records(self) -> list[Record]:
        """All rules of all stores."""
        return self._read()[1]

    def rules(self) -> list[FirewallRule]:
        """All rules of all stores, for the model."""
        return [as_rule(record) for record in self.records()]

    def calls(self, *cmdlets: str) -> list[dict[str, Any]]:
        """The calls of these cmdlets, or of all: ``cmdlet``, ``parameters``, ``ok``, ``error``."""
        return [call for call in self._lines("calls") if not cmdlets or call["cmdlet"] in cmdlets]

    def changes(self) -> list[dict[str, Any]]:
        """Every change of a rule since the beginning: ``id`` of the event, ``name``, ``rule``."""
        return self._lines("states")

    def states(self) -> Iterator[list[Record]]:
        """The rules after each change."""
        held: dict[tuple[str, str], Record] = {}
        for change in self.changes():
            if change["id"] == ALL_DELETED:
                held.clear()
            elif change["rule"]:
                held[change["name"], change["rule"]["StoreType"]] = change["rule"]
            else:
                held.pop((change["name"], "Local"), None) or held.pop(
                    (change["name"], "GroupPolicy")
                )
            yield list(held.values())

    def firewall(self, records: Iterable[Record] | None = None, active: str = "Public") -> Firewall:
        """The model of this firewall, with the present rules or those of one of ``states``."""
        header, present = self._read()
        return Firewall(
            [as_rule(record) for record in (present if records is None else records)],
            profiles=[_as_profile(profile) for profile in header["profiles"]],
            active=active,
            running="Stopped" not in header["services"].values(),
        )

    def _set_profile(
        self, names: Sequence[str], key: str, active: bool | None, settings: Mapping[str, Any]
    ) -> None:
        with self._changing() as (header, _):
            known = {profile["name"]: profile for profile in header["profiles"]}
            for name in names or known:
                known[name][key].update(settings)
                if active is not None:
                    known[name]["active"] = active

    def _read(self) -> tuple[dict[str, Any], list[Record]]:
        header = json.loads(self.path.read_text(encoding="utf-8"))
        return header, header.pop("rules")

    @contextmanager
    def _changing(self) -> Iterator[tuple[dict[str, Any], list[Record]]]:
        """The state to change at will, while no cmdlet does."""
        with open(f"{self.path}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            header, rules = self._read()
            yield header, rules
            self._write(header, rules)

    def _write(self, header: Mapping[str, Any], rules: Iterable[Record]) -> None:
        lines = ",\n".join(_json(rule) for rule in rules)
        text = f'{_json(header)[:-1]},"rules":[\n{lines}\n]}}\n'
        new = Path(f"{self.path}.new")
        new.write_text(text if lines else text.replace("\n\n", "\n"), encoding="utf-8")
        new.replace(self.path)

    def _journal(self, event: int, name: str, rule: Record | None) -> None:
        time = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with open(f"{self.path}.states", "a", encoding="utf-8") as file:
            file.write(_json({"id": event, "time": time, "name": name, "rule": rule}) + "\n")

    def _lines(self, journal: str) -> list[dict[str, Any]]:
        path = Path(f"{self.path}.{journal}")
        if not path.exists():
            return []
        # The last line may be half written.
        whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]


def as_rule(record: Mapping[str, Any]) -> FirewallRule:
    """A rule of the state for the model."""
    interfaces = {*record["InterfaceAlias"], record["InterfaceType"]} - {"Any"}
    return FirewallRule(
        name=record["Name"],
        direction=record["Direction"],
        action=record["Action"],
        protocol=record["Protocol"],
        local_ports=tuple(record["LocalPort"]),
        remote_ports=tuple(record["RemotePort"]),
        local_addresses=tuple(record["LocalAddress"]),
        remote_addresses=tuple(record["RemoteAddress"]),
        enabled=record["Enabled"] == "True",
        profiles=tuple(record["Profile"].split(", ")),
        program=record["Program"],
        service=record["Service"],
        interface=", ".join(sorted(interfaces)) or "Any",
        store=record["StoreType"],
    )


def _as_profile(given: Mapping[str, Any]) -> Profile:
    """What is in effect: group policy's settings before the administrator's."""
    settings = {**given["local"], **given["policy"]}
    return Profile(
        name=given["name"],
        enabled=settings.get("Enabled") != "False",
        default_inbound=settings.get("DefaultInboundAction", "NotConfigured"),
        default_outbound=settings.get("DefaultOutboundAction", "NotConfigured"),
        allow_local_rules=settings.get("AllowLocalFirewallRules") != "False",
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
