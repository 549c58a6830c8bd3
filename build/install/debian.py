# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Programs of the operating system, from Debian's packages."""

import os
import shutil
import sys
from collections.abc import Callable
from importlib import invalidate_caches
from importlib.util import find_spec

from commands import root_prefix, run
from project import SEARCH_PATH
from report import Missing, say


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name, path=SEARCH_PATH) is not None


def _static_busybox() -> bool:
    """The lab puts busybox alone into a container's root, where it finds no shared library."""
    path = shutil.which("busybox", path=SEARCH_PATH)
    if path is None:
        return False
    with open(path, "rb") as file:
        # A dynamic program names its loader, in the first page of the file.
        return b"/ld-" not in file.read(4096)


def _venv_works() -> bool:
    invalidate_caches()
    return find_spec("venv") is not None and find_spec("ensurepip") is not None


# Package, and whether what is needed of it is here already.
_LAB: dict[str, Callable[[], bool]] = {
    "nftables": _program("nft"),
    "iptables": _program("iptables"),
    "iproute2": _program("ip"),
    "busybox-static": _static_busybox,
    "dnsmasq-base": _program("dnsmasq"),
    # The certificates of the tests' API server.
    "openssl": _program("openssl"),
}
_COMPILER: dict[str, Callable[[], bool]] = {
    "gcc": _program("cc"),
    "libc6-dev": lambda: os.path.exists("/usr/include/stdio.h"),
}
_PYTHON: dict[str, Callable[[], bool]] = {
    # Debian splits ensurepip off; without it `python -m venv` makes no usable environment.
    f"python{sys.version_info.major}.{sys.version_info.minor}-venv": _venv_works,
}


def install_lab() -> None:
    """What the lab runs: packet filter, links, a shell for the agent, a DNS server."""
    _install(_LAB)


def install_compiler() -> None:
    """What compiles the benchmark's packet source."""
    _install(_COMPILER)


def install_python() -> None:
    """What the running Python lacks for making a virtual environment."""
    _install(_PYTHON)


def install_git() -> None:
    """reuse asks git which files belong to the project."""
    _install({"git": _program("git")})


def _install(packages: dict[str, Callable[[], bool]]) -> None:
    wanted = [package for package, present in packages.items() if not present()]
    if not wanted:
        return
    names = " ".join(wanted)
    remedy = f"as root, run: apt-get update && apt-get install {names}"
    if shutil.which("apt-get", path=SEARCH_PATH) is None:
        raise Missing(f"these are missing: {names} (Debian's names); install them")
    prefix = root_prefix()
    if prefix is None:
        raise Missing(f"these are missing: {names}; {remedy}")
    say(f"installing Debian packages: {names}")
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    install = [*command, "install", "--yes", "--no-install-recommends", *wanted]
    try:
        run(install, remedy=remedy)
    except Missing:
        # No package lists yet, or lists that name versions the mirror has dropped.
        run([*command, "update"], remedy=remedy)
        run(install, remedy=remedy)
    still = [package for package, present in packages.items() if not present()]
    if still:
        raise Missing(f"installed, but still not usable: {' '.join(still)}")
