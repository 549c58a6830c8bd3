# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""``policy.facts``: what the chart tells a Linux agent about its policy, beside the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from udp_security.policy.model import DIRECTIONS, Direction, Network, networks

Mode = Literal["enforce", "audit"]
DenyAction = Literal["drop", "reject"]
Scope = Literal["host", "cluster"]

MODES: tuple[Mode, ...] = ("enforce", "audit")
DENY_ACTIONS: tuple[DenyAction, ...] = ("drop", "reject")
SCOPES: tuple[Scope, ...] = ("host", "cluster")
_BACKENDS: tuple[Literal["auto", "nftables", "iptables"], ...] = ("auto", "nftables", "iptables")

_Word = TypeVar("_Word", bound=str)


@dataclass(frozen=True)
class CacheBits:
    """The bits of the conntrack mark that hold cached verdicts. `slots`: of generations."""

    shift: int
    slots: int
    mask: int

    def accepted_as(self, mark: int, number: int) -> Direction | None:
        """As what the kernel's generation `number` has accepted a flow with this mark, if it has.

        The value is what the agent writes (files/linux/nftables.sh, docs/ruleset.md): above `shift`
        bits, below the mask's two highest, it is 3 times the slot, and 1 to 3.
        """
        values = (((self.mask >> self.shift) + 1) >> 2) - 1
        place = ((mark >> self.shift) & values) - 3 * (number % self.slots) - 1
        return DIRECTIONS[place] if 0 <= place < len(DIRECTIONS) else None


@dataclass(frozen=True)
class Facts:
    """All but the ports of overlay devices. `cache` is None where no verdict is cached."""

    mode: Mode
    deny_action: DenyAction
    scope: Scope
    backend: Literal["auto", "nftables", "iptables"]
    cache: CacheBits | None
    anti_spoofing: bool
    prefilter: bool
    pods: tuple[Network, ...]
    nodes: tuple[Network, ...]

    @classmethod
    def read(cls, text: str) -> Facts:
        """KeyError, IndexError and ValueError where the chart did not make the text."""
        found = {words[0]: words[1:] for line in text.splitlines() if (words := line.split())}
        shift, slots, mask, on = found["cache"]
        bits = CacheBits(int(shift), int(slots), int(mask, 16))
        if not (0 <= bits.shift < 32 and 0 < bits.slots < 100 and 0 < bits.mask < 1 << 32):
            raise ValueError("cache has impossible bits")
        return cls(
            mode=one_of(found["mode"][0], MODES),
            deny_action=one_of(found["denyAction"][0], DENY_ACTIONS),
            scope=one_of(found["scope"][0], SCOPES),
            backend=one_of(found["backend"][0], _BACKENDS),
            cache=bits if on == "on" else None,
            anti_spoofing="antiSpoofing" in found,
            prefilter="prefilter" in found,
            pods=networks(found["podCIDRs"]),
            nodes=networks(found["nodeCIDRs"]),
        )


def one_of(word: object, known: Sequence[_Word]) -> _Word:
    """The word, if it is known. ValueError."""
    for each in known:
        if word == each:
            return each
    raise ValueError(f"{word!a} is none of {', '.join(known)}")
