# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The one kernel module that nothing in the lab loads by being used."""

from pathlib import Path

from commands import root_prefix, run
from report import Missing, say

_LOADED = Path("/proc/sys/net/bridge")


def load_bridge_filter() -> None:
    """br_netfilter, which sends the lab's bridged packets through netfilter. Raises Missing."""
    if _LOADED.exists():
        return
    remedy = "as root, run: modprobe br_netfilter"
    prefix = root_prefix()
    if prefix is None:
        raise Missing(f"the kernel module br_netfilter is not loaded; {remedy}")
    say("loading the kernel module br_netfilter, for the lab's bridges")
    run([*prefix, "modprobe", "br_netfilter"], remedy=remedy)
