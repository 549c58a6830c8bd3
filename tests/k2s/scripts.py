# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Running a script of the addon as K2s's own scripts do, without the command line."""

from __future__ import annotations

import subprocess

from tests.k2s.cli import quoted
from tests.k2s.tree import K2s


def run(k2s: K2s, name: str, *options: str, folder: str = ".") -> subprocess.CompletedProcess[str]:
    """Run it in a folder with options as one would type them; its exit code is PowerShell's."""
    where = f"Set-Location -LiteralPath {quoted(folder)}"
    call = f"& {quoted(str(k2s.addon / name))} {' '.join(options)}"
    return k2s.pwsh("-Command", f"{where}; $LASTEXITCODE = 0; {call}; exit $LASTEXITCODE")


def threw(k2s: K2s, name: str, *options: str) -> str:
    """What it throws; empty when it comes to an end, with whatever exit code."""
    call = f"& {quoted(str(k2s.addon / name))} {' '.join(options)}"
    done = k2s.pwsh("-Command", f'try {{ {call} | Out-Null }} catch {{ "THROWN $_" }}')
    lines = [line for line in done.stdout.splitlines() if line.startswith("THROWN ")]
    return lines[0].removeprefix("THROWN ") if lines else ""
