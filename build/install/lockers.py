# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""uv, which writes the locks. It has an environment of its own: without locks there is no .venv."""

from environment import create, locked, pip
from packages import lock_of
from project import BIN, TOOLS, Stamp, key_of
from report import say


def install() -> None:
    """uv as `.tools/bin/uv`. Raises Missing."""
    folder = TOOLS / "uv"
    stamp = Stamp("uv", key_of(lock_of("uv")))
    if stamp.fresh(BIN / "uv"):
        return
    say("installing uv into .tools (it writes the locks)")
    stamp.clear()
    create(folder)
    pip("install", *locked(lock_of("uv")), venv=folder)
    BIN.mkdir(parents=True, exist_ok=True)
    link = BIN / "uv"
    link.unlink(missing_ok=True)
    link.symlink_to(folder / "bin" / "uv")
    stamp.set()
