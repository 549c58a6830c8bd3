# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Runs the Windows agent's own compiler: what a node's firewall is given for a policy."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from udp_security.chart import chart_dir
from udp_security.windows import pwsh
from udp_security.windows.firewall import FirewallRule

# One policy a line, one list of rules a line: PowerShell's start takes longer than most policies.
_SCRIPT = """
$ErrorActionPreference = 'Stop'
Import-Module (Join-Path '%s' 'Compile.psm1')
while ($null -ne ($line = [Console]::In.ReadLine())) {
    try {
        $rules = ConvertTo-FirewallRule -Policy (ConvertFrom-Json -InputObject $line)
        $answer = @{ rules = @(foreach ($rule in $rules) { $rule }) }
    } catch {
        $answer = @{ error = "$_ $($_.ScriptStackTrace)" }
    }
    [Console]::Out.WriteLine((ConvertTo-Json -InputObject $answer -Depth 4 -Compress))
}
"""


class Compiler:
    """The chart's Compile.psm1 in a PowerShell of its own, for as long as the ``with`` lasts."""

    def __enter__(self) -> Compiler:
        """Raises PwshMissingError where there is no PowerShell."""
        folder = str(chart_dir() / "files" / "windows").replace("'", "''")
        self._process = subprocess.Popen(
            [pwsh.find(), "-NoProfile", "-NonInteractive", "-Command", _SCRIPT % folder],
            env=pwsh.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()
        self._process.wait()

    def __call__(self, policy: Mapping[str, Any]) -> list[FirewallRule]:
        """The firewall rules of a policy, which is as in the chart's policy.json.

        Raises PwshFailedError where the compiler does.
        """
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(policy) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        try:
            answer: dict[str, Any] = json.loads(line) if line else {"error": "PowerShell ended"}
        except ValueError:
            answer = {"error": f"PowerShell said {line.strip()!r}"}
        if "error" in answer:
            raise pwsh.PwshFailedError(f"the Windows compiler failed: {answer['error']}")
        return [_rule(rule) for rule in answer["rules"]]


def _rule(given: Mapping[str, Any]) -> FirewallRule:
    return FirewallRule(
        name=given["Name"],
        direction=given["Direction"],
        action=given["Action"],
        protocol=given["Protocol"],
        local_ports=tuple(given["LocalPort"]),
        remote_ports=tuple(given["RemotePort"]),
        local_addresses=tuple(given["LocalAddress"]),
        remote_addresses=tuple(given["RemoteAddress"]),
    )
