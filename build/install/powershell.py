# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""PowerShell, which the tests of the Windows agent run in: looked for, never installed.

No package index that the other tools come from has it.
"""

import os
import re
import shutil

from commands import run
from project import SEARCH_PATH
from report import Missing

_MINIMUM = (7, 2)
_REMEDY = (
    "the tests of the Windows agent need PowerShell 7.2 or newer: sudo snap install powershell "
    "--classic (or see https://aka.ms/install-powershell), or name another one in $PWSH"
)


def find() -> None:
    """A pwsh that is new enough, named by ``$PWSH`` or on PATH. Raises Missing."""
    named = os.environ.get("PWSH") or "pwsh"
    found = shutil.which(named, path=SEARCH_PATH)
    if found is None:
        raise Missing(f"{named} is no program here; {_REMEDY}")
    ask = '"$($PSVersionTable.PSVersion)"'
    said = run([found, "-NoProfile", "-Command", ask], remedy=_REMEDY)
    version = re.match(r"(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < _MINIMUM:
        raise Missing(f"{found} says it is {said.strip()!r}; {_REMEDY}")
