# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Runs other programs quietly: what they print is shown only when they fail."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from report import Missing


def run(
    command: Sequence[str | Path],
    *,
    remedy: str,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """Run a command and return what it prints.

    Raises Missing, with the end of its output and the remedy, when it cannot be run or fails.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            check=False,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise Missing(f"cannot run {words[0]}: {error.strerror}; {remedy}") from None
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-4:])
        raise Missing(f"'{' '.join(words)}' failed; {remedy}\n{tail}")
    return done.stdout


def root_prefix() -> list[str] | None:
    """What to put before a command so that root runs it; None: no way without a password."""
    if os.geteuid() == 0:
        return []
    try:
        done = subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True)
    except OSError:
        return None
    return ["sudo", "-n"] if done.returncode == 0 else None
