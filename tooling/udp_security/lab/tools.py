# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Finding and running the host's tools (ip, nft, iptables, dnsmasq, busybox) with clear errors."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from typing import Final

from udp_security.lab.errors import LabError

# A user's PATH on Debian has no sbin, and that is where these tools are.
SEARCH: Final = os.pathsep.join(
    dict.fromkeys(
        [*os.environ.get("PATH", "").split(os.pathsep), "/usr/local/sbin", "/usr/sbin", "/sbin",
         "/usr/bin", "/bin"]
    )
)  # fmt: skip

_PACKAGES: Final = {
    "ip": "iproute2",
    "nft": "nftables",
    "bridge": "iproute2",
    "iptables-nft": "iptables",
    "ip6tables-nft": "iptables",
    "iptables-nft-restore": "iptables",
    "ip6tables-nft-restore": "iptables",
    "dnsmasq": "dnsmasq-base",
    "busybox": "busybox-static",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ldd": "libc-bin",
}


def find(name: str) -> str:
    """Absolute path of a tool. LabError naming the Debian package when it is missing."""
    path = shutil.which(name, path=SEARCH)
    if path is None:
        raise LabError(
            f"the lab needs '{name}', which is not installed",
            f"install it: sudo apt-get install {_PACKAGES.get(name, name)}",
        )
    return path


def require(names: Iterable[str]) -> None:
    """Check that all these tools exist. LabError naming every missing one and one apt command."""
    missing = [name for name in names if shutil.which(name, path=SEARCH) is None]
    if missing:
        packages = sorted({_PACKAGES.get(name, name) for name in missing})
        raise LabError(
            "the lab needs tools that are not installed: " + ", ".join(missing),
            "install them: sudo apt-get install " + " ".join(packages),
        )


def environment() -> dict[str, str]:
    """The environment of every tool the lab runs."""
    return {**os.environ, "PATH": SEARCH, "LC_ALL": "C"}


def run(
    command: Sequence[str], *, stdin: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, output captured as text. LabError with its own words when it fails."""
    result = subprocess.run(
        [find(command[0]), *command[1:]],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    if check and result.returncode != 0:
        said = (result.stderr or result.stdout).strip()
        raise LabError(f"'{' '.join(command)}' failed ({result.returncode}): {said}")
    return result
