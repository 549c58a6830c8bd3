# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Agents whose cached verdicts can be trusted after seconds, where it takes minutes on a node."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.lab.agents import Documents, Node, replace, state, with_files

from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

TIMEOUT: Final = 1  # conntrack's, in seconds, for every UDP flow
QUARANTINE: Final = 2  # how long a value is not trusted after its last use
FEW_SLOTS: Final = 0xFC000000
"""A mask with room for SLOTS generations."""
SLOTS: Final = 5


def forgetful(lab: Lab) -> None:
    """The node's idle flows live for TIMEOUT only."""
    lab.ns("node").sysctl(
        dict.fromkeys(
            (
                "net/netfilter/nf_conntrack_udp_timeout",
                "net/netfilter/nf_conntrack_udp_timeout_stream",
            ),
            TIMEOUT,
        )
    )


def made(
    values: Mapping[str, Any],
    *,
    poll: float = 0.2,
    change: Callable[[dict[str, str]], object] = lambda _: None,
) -> Documents:
    """A pod whose cached verdicts are trusted after QUARANTINE on a forgetful node."""

    def shorten(data: dict[str, str]) -> None:
        replace(data, "nftables.sh", "\nLEAST_QUARANTINE=300\n", "\nLEAST_QUARANTINE=1\n")
        margin = QUARANTINE - TIMEOUT
        replace(data, "nftables.sh", "print longest + 10 }", f"print longest + {margin} }}")
        change(data)

    return with_files(values, shorten, poll=poll)


def masked(values: Mapping[str, Any], mask: int) -> dict[str, Any]:
    """The values with another mask of the cache."""
    return {**values, "linux": {"verdictCache": {"mask": mask}}}


def trusting(node: Node) -> bool:
    """Whether the kernel's rules accept what is cached."""
    hook = node.nft("list", "chain", "inet", "udp_security", "input", check=False)
    return "ct mark" in hook


def quarantined(node: Node) -> set[int]:
    """The slots that must not be trusted now, and the number of all slots, if that goes for all."""
    listing = node.nft("list", "table", "inet", "udp_security")
    (text,) = re.findall(r"^\tset cache\.\w+ \{.*?^\t\}", listing, re.MULTILINE | re.DOTALL)
    return {int(slot, 16) for slot in re.findall(r"0x([0-9a-f]{8})", text)}


def set_free(node: Node, pod: AgentPod) -> None:
    """What the kernel does in time: no value is doubtful any more, nor does the agent remember. It
    may just have looked, and put them back once more."""
    (state(pod, node.lab) / "quarantine").unlink(missing_ok=True)
    (cache,) = re.findall(r"^\tset (cache\.\w+) \{", node.table(), re.MULTILINE)
    node.nft("flush", "set", "inet", "udp_security", cache)
