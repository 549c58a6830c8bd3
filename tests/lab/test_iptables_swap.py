# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""How the iptables backend changes a policy in two families: both or none, and none half."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from tests.lab import iptables
from tests.lab.agents import ANOTHER_POLICY, POLICY, config_data
from tests.lab.iptables import VARIANTS
from tests.lab.iptables_node import FilterNode, filter_node
from tests.unit.test_iptables_compiler import policy_text

from udp_security.lab import syscalls
from udp_security.lab.topology import Lab

SWAP: Final = 'seen=$(iptables_look); iptables_swap "$seen" "$(echo "$seen" | iptables_owner)"'
# How the texts of the two steps differ.
BEGINS: Final = "-N UDPSEC-"
POINTS: Final = "-A UDPSEC-INPUT "

NFT: Final = pytest.mark.parametrize("node", ["nft"], indirect=True)
"""For what the variants do not differ in."""


@pytest.fixture(params=VARIANTS)
def node(lab: Lab, request: pytest.FixtureRequest) -> Iterator[FilterNode]:
    """A node whose agents take one variant."""
    with filter_node(lab, request.param) as governed:
        yield governed


class Pod:
    """A pod's state, and its agent's functions with tools before the real ones."""

    def __init__(
        self, node: FilterNode, root: Path, uid: str, values: Mapping[str, Any] = POLICY
    ) -> None:
        self._node, self._uid = node, uid
        self.state, self._programs = root / uid, root / f"{uid}-bin"
        self.state.mkdir()
        self._programs.mkdir()
        self.fill(values)

    def fill(self, values: Mapping[str, Any] = POLICY) -> None:
        """Give the state directory what an agent writes there in the beginning."""
        iptables.prepare(self.state, config_data(self._node.made(values)), self._node.variant)

    def says(self, code: str) -> str:
        """What the code prints."""
        code = f"ON_STOP=remove PATH={self._programs}:$PATH\n{code}"
        return iptables.call(self._node.run, self.state, code, pod=self._uid, check=False).stdout

    def swaps(self) -> int:
        """What the swap returns."""
        return int(self.says(f"{SWAP}; echo $?").splitlines()[-1])

    def fault(self, tool: str, script: str) -> None:
        """Let a ``-restore`` run this first, with its standard input in $text."""
        name = f"{tool}-{self._node.variant}-restore"
        lines = ["#!/bin/sh", "text=$(cat)", script]
        lines.append(f'printf "%s\\n" "$text" | exec {shutil.which(name)} "$@"')
        (self._programs / name).write_text("\n".join(lines) + "\n", encoding="ascii")
        (self._programs / name).chmod(0o755)

    def refuse(self, tool: str, text: str) -> None:
        """Let a ``-restore`` refuse what has this text."""
        self.fault(tool, f"case $text in *'{text}'*) echo refused >&2; exit 1 ;; esac")

    def mend(self, tool: str) -> None:
        """Let it work again."""
        self.fault(tool, "")


def test_what_one_family_refuses_changes_neither(node: FilterNode, tmp_path: Path) -> None:
    old, new = Pod(node, tmp_path, "a"), Pod(node, tmp_path, "b", ANOTHER_POLICY)

    def refused_by(pod: Pod, tool: str, text: str) -> None:
        before = node.table()
        pod.refuse(tool, text)
        out = pod.says("apply applied")
        assert "event=bad-ruleset" in out and out.endswith(': refused"\n'), (tool, text, out)
        assert node.table() == before, (tool, text)
        pod.mend(tool)

    refused_by(new, "ip6tables", POINTS)
    assert node.table() == ""
    old.says("apply applied")
    assert node.owners() == ["a"] * 2
    digest = old.says("iptables_digest")
    for pod in (new, old):
        refused_by(pod, "iptables", BEGINS)
        refused_by(pod, "ip6tables", BEGINS)
        refused_by(pod, "iptables", POINTS)
        refused_by(pod, "ip6tables", POINTS)
    assert old.says("iptables_digest") == digest

    # IPv4 cannot be set back either: that is said, and the next swap mends it.
    new.refuse("ip6tables", POINTS)
    new.fault("iptables", f"case $text in *'-N UDPSEC-'*'{POINTS}'*) exit 1 ;; esac")
    assert "event=leftovers" in new.says("apply applied")
    assert node.owners() == ["b", "a"]
    new.mend("iptables")
    assert (new.swaps(), node.owners()) == (1, ["b", "a"])
    new.mend("ip6tables")
    assert (new.swaps(), node.owners(), len(node.generations())) == (0, ["b"] * 2, 1)


def test_a_pod_that_dies_between_the_steps(node: FilterNode, tmp_path: Path) -> None:
    """What it began is no difference to the owner, does not pile up, and goes in the end."""
    owner, other = Pod(node, tmp_path, "a"), Pod(node, tmp_path, "b", ANOTHER_POLICY)
    owner.says("apply applied")
    in_force, digest = node.table(), owner.says("iptables_digest")
    for _ in range(2):
        other.says(f"point() {{ kill -9 $$; }}; {SWAP}")
        assert len(node.generations()) == 2
        assert "r.other" in node.table()
        assert owner.says("iptables_digest; iptables_record") == digest * 2
    begun = max(node.generations())
    node.tool("-A", "UDPSEC-r.open", "-j", "ACCEPT")
    assert owner.says("iptables_digest") != digest
    node.tool("-D", "UDPSEC-r.open", "-j", "ACCEPT")

    # Nobody else takes that generation for its own.
    third = Pod(node, tmp_path, "c")
    before = node.table()
    late = f"iptables_look | sed s/UDPSEC-{begun}-/UDPSEC-{begun - 1}-/"
    assert third.says(f'iptables_swap "$({late})" a; echo $?') in ("1\n", "2\n")
    assert node.table() == before
    # And nobody points to what another pod has begun, after its own is gone.
    mark = f"UDPSEC-{begun + 1}-of."
    steal = f"iptables-{node.variant} -w -E {mark}b {mark}c"
    other.fault("iptables", f"case $text in *'{POINTS}'*) {steal} ;; esac")
    assert other.swaps() == 1
    assert owner.swaps() == 0
    assert len(node.generations()) == 1
    assert [re.sub(r"UDPSEC-\d+-", "", line) for line in node.table().splitlines()] == [
        re.sub(r"UDPSEC-\d+-", "", line) for line in in_force.splitlines()
    ]


@NFT
def test_the_deepest_policy_loads(node: FilterNode, tmp_path: Path) -> None:
    pod = Pod(node, tmp_path, "a")
    text = policy_text(iptables.deep(100, 200, "ingress", "egress"))
    (pod.state / "policy" / "policy.rules").write_text(text, encoding="ascii")
    assert (pod.swaps(), node.owners()) == (0, ["a", "a"])


@pytest.fixture
def full(node: FilterNode, tmp_path: Path) -> Iterator[Pod]:
    """A pod whose policy is in force, and whose state directory has no space left."""
    pod = Pod(node, tmp_path, "a")
    syscalls.mount("tmpfs", str(pod.state), "tmpfs", 0, "size=1m,mode=777")
    try:
        pod.fill()
        pod.says("apply applied")
        with pytest.raises(OSError), (pod.state / "rest").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        yield pod
    finally:
        syscalls.umount(str(pod.state))


@pytest.mark.parametrize("how", ["release", "remove"])
def test_removing_needs_no_space(node: FilterNode, full: Pod, how: str) -> None:
    assert node.owners() == ["a", "a"]
    assert "removed" in full.says(how)
    assert node.table() == ""


@NFT
def test_what_is_left_is_not_called_removed(node: FilterNode, full: Pod) -> None:
    """A tool that does nothing, and does not say so."""
    full.fault("ip6tables", "exit 0")
    out = full.says("release")
    assert "event=removed" not in out and "the rules stay" in out
    assert "removed\n" not in full.says("remove")
    full.mend("ip6tables")
    assert full.says("remove") == "removed\n"
