# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A flow's entries in a Linux node's conntrack, and whether its verdict is cached there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from udp_security.cluster.client import Client
from udp_security.cluster.execution import execute
from udp_security.policy import Flow
from udp_security.policy.facts import CacheBits
from udp_security.policy.model import Direction

#: Entries that are told at most.
MOST = 5
# $1: the pattern. There may be hundreds of thousands of entries, so they are searched on the node.
# Kernels without CONFIG_NF_CONNTRACK_PROCFS do not have the file.
_ASK: Final = r"""
nft -t list chain inet udp_security input 2>/dev/null |
    sed -n 's/.* jump g\([0-9]*\)\..*/generation \1/p' | head -n 1
if [ -e /proc/net/nf_conntrack ]; then
    grep -m "$2" -e "$1" /proc/net/nf_conntrack || :
else
    echo unknown
fi"""
_GENERATION: Final = re.compile(r"generation (\d{1,9})", re.ASCII)
# The timeout is not there for entries whose packets a flowtable forwards, the mark not with kernels
# that have none.
_LINE: Final = re.compile(
    r"ipv[46] +\d+ udp +17 (?:(?P<timeout>\d{1,9}) )?src=.*?(?: mark=(?P<mark>\d{1,10})\b.*)?",
    re.ASCII,
)
_TAG: Final = re.compile(r"\[([A-Z_]{1,20})\]")


@dataclass(frozen=True)
class Entry:
    """An entry of conntrack: its `state` (unreplied, replied, assured, offload), `timeout` in
    seconds, None where it has none, and `mark`, None where the kernel shows none.

    `cached_as`: the direction whose verdict the generation in force has cached there, if any.
    """

    state: str
    timeout: int | None
    mark: int | None
    cached_as: Direction | None


async def entries_of(
    client: Client, pod: str, flow: Flow, cache: CacheBits | None, timeout: float
) -> tuple[int | None, tuple[Entry, ...] | None]:
    """The number of the generation in force, and the flow's entries; None for what isn't told.

    One entry more than MOST where there are more. `cache`: that of the policy in force.
    """
    command = ["/bin/sh", "-c", _ASK, "sh", pattern(flow), str(MOST + 1)]
    answer = await execute(client, pod, command, timeout)
    lines = answer.text.splitlines()
    if not answer.good or "unknown" in lines:
        return None, None
    number = None
    if lines and (found := _GENERATION.fullmatch(lines[0])):
        number = int(found[1])
    entries = (_entry(line, number, cache) for line in lines)
    return number, tuple(entry for entry in entries if entry)


def pattern(flow: Flow) -> str:
    """What grep finds the flow's lines in /proc/net/nf_conntrack by.

    As in the policy: the original's source, and the reply's source with its port.
    """
    source, destination = (
        address.exploded.replace(".", r"\.") for address in (flow.source, flow.destination)
    )
    ends = "dst=[^ ]* sport=[0-9]* dport=[0-9]* "
    return (
        f"^ipv{flow.source.version} .* udp .* src={source} {ends}"
        f".*src={destination} dst=[^ ]* sport={flow.port} "
    )


def _entry(line: str, number: int | None, cache: CacheBits | None) -> Entry | None:
    """Reads a line of /proc/net/nf_conntrack. None where it is none."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    mark = int(found["mark"]) if found["mark"] else None
    accepted_as = None
    if cache and mark is not None and number is not None:
        accepted_as = cache.accepted_as(mark, number)
    return Entry(
        state=", ".join(_TAG.findall(line)).lower() or "replied",
        timeout=int(found["timeout"]) if found["timeout"] else None,
        mark=mark,
        cached_as=accepted_as,
    )
