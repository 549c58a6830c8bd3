# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Finding and running PowerShell, which the Windows agent is written in, on any system."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence


class PwshMissingError(Exception):
    """There is no PowerShell; says how to get one."""


class PwshFailedError(Exception):
    """PowerShell ran and failed; says what it said."""


def find() -> str:
    """Absolute path of pwsh: what ``$PWSH`` names, else PATH's. Raises PwshMissingError."""
    named = os.environ.get("PWSH")
    path = shutil.which(named or "pwsh")
    if path is None:
        problem = (
            f"$PWSH is {named!r}, which is no program" if named else "there is no pwsh on PATH"
        )
        raise PwshMissingError(
            f"{problem}; install PowerShell (sudo snap install powershell --classic, or see "
            "https://aka.ms/install-powershell) or set $PWSH"
        )
    return os.path.abspath(path)


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment for pwsh, with ``variables``: plain output, nothing sent home."""
    return {
        **os.environ,
        "NO_COLOR": "1",
        "POWERSHELL_TELEMETRY_OPTOUT": "1",
        "POWERSHELL_UPDATECHECK": "Off",
        **(variables or {}),
    }


def run(
    arguments: Sequence[str],
    *,
    variables: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run pwsh with these arguments (``-File`` or ``-Command`` and theirs) to its end.

    Its exit code is the caller's to judge. Raises PwshMissingError, and subprocess.TimeoutExpired
    after ``timeout`` seconds.
    """
    return subprocess.run(
        [find(), "-NoProfile", "-NonInteractive", *arguments],
        env=environment(variables),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
