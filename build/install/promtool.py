# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""promtool and prometheus, for the tests of rules and queries: those on PATH, else Debian's.

The package is only unpacked: installing it would start a Prometheus on this machine.
"""

import shutil
import tempfile
from pathlib import Path

from commands import root_prefix, run
from project import BIN, SEARCH_PATH, Stamp, key_of
from report import Missing, say

_PROGRAMS = ("promtool", "prometheus")
_REMEDY = "as root, run: apt-get update; or put promtool and prometheus on PATH"


def install() -> None:
    """Any version: rules and queries use nothing that is newer than Debian 12's. Raises Missing."""
    if all(shutil.which(program, path=SEARCH_PATH) for program in _PROGRAMS):
        return
    outputs = [BIN / program for program in _PROGRAMS]
    stamp = Stamp("prometheus", key_of("Debian's"))
    if stamp.fresh(*outputs):
        return
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program, path=SEARCH_PATH) is None:
            raise Missing(
                f"promtool and prometheus are not on PATH, and {program} neither: install them"
            )
    say("unpacking promtool and prometheus into .tools/bin (Debian's package, 19 MB; no service)")
    stamp.clear()
    BIN.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="udp-security-") as name:
        folder = Path(name)
        _download(folder)
        (package,) = folder.glob("*.deb")
        run(["dpkg-deb", "--extract", package, folder / "root"], remedy=_REMEDY)
        for output in outputs:
            # Within the folder of the output, so that a half-copied program never has its name.
            unfinished = BIN / f".{output.name}"
            shutil.copy(folder / "root" / "usr" / "bin" / output.name, unfinished)
            unfinished.replace(output)
    stamp.set()


def _download(folder: Path) -> None:
    command = ["apt-get", "-qq", "download", "prometheus"]
    try:
        run(command, remedy=_REMEDY, folder=folder)
    except Missing:
        # No package lists yet, or lists that name versions the mirror has dropped.
        prefix = root_prefix()
        if prefix is None:
            raise
        run([*prefix, "apt-get", "-qq", "update"], remedy=_REMEDY)
        run(command, remedy=_REMEDY, folder=folder)
