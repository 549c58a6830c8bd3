# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A node whose agents use one variant of iptables, and what its tables hold of theirs."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from tests.lab import iptables
from tests.lab.agents import POLICY, Documents, Node, documents
from tests.lab.iptables import Variant

from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

MARK: Final = "UDPSEC-T-before"


class FilterNode(Node):
    """The lab's first node with rules of one variant of iptables."""

    def __init__(self, lab: Lab, variant: Variant) -> None:
        self.variant = variant
        self.run = functools.partial(lab.run, "node")
        super().__init__(lab)

    def made(self, values: Mapping[str, Any] = POLICY, **how: Any) -> Documents:
        """The chart's documents for this backend; ``how`` as ``documents`` takes it."""
        linux = {**values.get("linux", {}), "backend": "iptables"}
        return documents({**values, "linux": linux}, **how)

    def pod(self, made: Documents | None = None) -> AgentPod:
        """A pod that is not started yet; POLICY's by default."""
        return super().pod(self.made() if made is None else made)

    def tool(self, *words: str, family: int = 4, check: bool = True) -> str:
        """What iptables (or ip6tables) prints."""
        tool = f"{iptables.TOOLS[family]}-{self.variant}"
        return self.run([tool, "-w", *words], check=check).stdout

    def table(self) -> str:
        """Our rules of both families."""
        saved = iptables.saved(self.run, self.variant)
        lines = (f"{n} {line}" for n, text in saved.items() for line in iptables.ours(text))
        return "\n".join(line for line in lines if MARK not in line)

    def owners(self) -> list[str]:
        """The uids of the pods that own the node: IPv4's, then IPv6's."""
        return re.findall(r'-A UDPSEC-O-\S+ -m comment --comment "?([^" ]+)', self.table())

    def standing_by(self, pod: AgentPod) -> bool:
        """Whether the pod announces that it would take the node over."""
        return re.search(rf'-A UDPSEC-S-\S+ .*"?{pod.uid}', self.table()) is not None

    def generations(self) -> set[int]:
        """Numbers of the generations that there is anything of."""
        return set(map(int, re.findall(r"UDPSEC-(\d+)-", self.table())))

    def policy(self) -> list[str]:
        """Our rules without the generation, the owner and who waits."""
        lines = re.sub(r"UDPSEC-\d+-", "UDPSEC-N-", self.table()).splitlines()
        return sorted(line for line in lines if not re.search(r"UDPSEC-[OST]-", line))

    def foreign(self) -> str:
        """Others' rules in the tables `filter` of both families."""
        saved = iptables.saved(self.run, self.variant)
        return "".join(map(iptables.others, saved.values()))

    def counters(self) -> dict[str, int]:
        """Packets by counter."""
        return iptables.counters(self.run, self.variant)

    def wipe(self) -> None:
        """Take our rules away by hand, as the agent's messages say, for agents of this variant."""
        for tool in iptables.TOOLS.values():
            saved = self.run([f"{tool}-{self.variant}-save", "-t", "filter"]).stdout
            kept = "".join(line for line in saved.splitlines(True) if "UDPSEC-" not in line)
            self.run([f"{tool}-{self.variant}-restore"], stdin=kept)
        if self.variant == "legacy":
            # The lab's own rules are iptables-nft's, but where a chain of ours is counts more.
            self.tool("-N", MARK)


@contextlib.contextmanager
def filter_node(lab: Lab, variant: Variant) -> Iterator[FilterNode]:
    """The node; its agents and what they left are gone in the end. Skips where the kernel lacks
    the legacy variant, but not on CI."""
    if variant == "legacy" and (why := iptables.legacy_missing(functools.partial(lab.run, "node"))):
        assert not os.environ.get("CI"), why
        pytest.skip(why)
    governed = FilterNode(lab, variant)
    governed.wipe()
    with governed:
        yield governed
    governed.wipe()
    governed.tool("-X", MARK, check=False)
