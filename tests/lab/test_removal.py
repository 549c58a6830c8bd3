# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What `k2s addons disable` and a user with `udp-security disable`'s command remove from a node:
all of ours, of both backends, with whatever tools the node has, and nothing of anybody else."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Final

import pytest
from tests.k2s.cli import ERROR, Cli
from tests.k2s.conftest import cli, cluster, helm, host, k2s, pwsh
from tests.k2s.host import Host
from tests.k2s.native import Line, Result
from tests.k2s.tree import K2s
from tests.lab import iptables
from tests.lab.agents import POLICY, Node, config_data, documents
from tests.lab.iptables import TOOLS, VARIANTS, Variant

from udp_security.cluster.removal import COMMANDS
from udp_security.lab import tools
from udp_security.lab.topology import Lab

__all__ = ["cli", "cluster", "helm", "host", "k2s", "pwsh"]

KEPT: Final = {**POLICY, "linux": {"onStop": "keep"}}
# Tables that have our name, or almost, in a family that is not ours.
THEIRS: Final = """
table ip udp_security { chain c { type filter hook input priority 5; udp dport 5 drop; }; }
table inet udp_security_2 { chain c { type filter hook output priority 5; udp dport 5 drop; }; }
table bridge theirs { chain c { type filter hook forward priority 5; udp dport 5 drop; }; }
"""


class LeftNode:
    """A node on which agents leave rules, and a PATH with the tools that its users have."""

    def __init__(self, agents: Node, variants: list[Variant], bin_: Path) -> None:
        self.agents, self.variants, self.bin = agents, variants, bin_
        self.run = functools.partial(agents.lab.run, "node")
        self.before = self.everything()
        (bin_ / "sudo").write_text('#!/bin/sh\nexec "$@"\n', encoding="ascii")
        (bin_ / "sudo").chmod(0o755)
        for tool in ("sh", "sed", "grep", "nft", *self.iptables()):
            self.give(tool)

    def iptables(self) -> list[str]:
        """The names of iptables' tools for this."""
        ways = ("save", "restore")
        return [f"{t}-{v}-{way}" for t in TOOLS.values() for v in self.variants for way in ways]

    def give(self, tool: str) -> None:
        """Install a tool."""
        (self.bin / tool).symlink_to(tools.find(tool))

    def shell(self, command: str) -> Result:
        """What a command line comes to."""
        words = ["env", f"PATH={self.bin}", "sh", "-c", command]
        done = self.run(words, check=False)
        lines = [Line(text) for text in done.stdout.splitlines()]
        return Result(
            done.returncode, lines + [Line(text, True) for text in done.stderr.splitlines()]
        )

    def everything(self) -> str:
        """All rules of the node, without what counts packets."""
        found = [self.run(["nft", "-s", "list", "ruleset"]).stdout]
        found += [
            self.run([f"{tool}-{variant}-save"]).stdout
            for tool in TOOLS.values()
            for variant in self.variants
        ]
        text = re.sub(r"(?m)^#.*\n", "", "".join(found))
        return re.sub(r"(?m)^(:\S+ \S+) \[\d+:\d+\]$", r"\1", text)

    def nft_tables(self) -> set[str]:
        """The nft tables of our name."""
        listed = self.agents.nft("list", "tables")
        return set(re.findall(r"table (\S+) udp_security$", listed, flags=re.MULTILINE))

    def has_chains(self) -> dict[str, bool]:
        """Whether our chains are there, by variant."""
        return {
            v: any(":UDPSEC-" in text for text in iptables.saved(self.run, v).values())
            for v in self.variants
        }

    def leave_rules(self, scratch: Path) -> None:
        """Put in force what agents would: both tables, and the chains of each variant."""
        assert self.agents.start(documents(KEPT)).stop() == 0
        data = config_data(documents({**POLICY, "linux": {"backend": "iptables"}}))
        for variant in self.variants:
            state = scratch / variant
            state.mkdir()
            iptables.prepare(state, data, variant)
            assert "event=applied" in iptables.call(self.run, state, "apply applied").stdout
        assert self.nft_tables() == {"ip", "inet", "bridge"}
        assert self.has_chains() == dict.fromkeys(self.variants, True)


@pytest.fixture(scope="module")
def variants(lab: Lab) -> list[Variant]:
    """Those that work here, with others' rules in every place where ours go."""
    run = functools.partial(lab.run, "node")
    found: list[Variant] = list(VARIANTS)
    if why := iptables.legacy_missing(run):
        assert not os.environ.get("CI"), why
        print(f"iptables-legacy is not tested: {why}")
        found.remove("legacy")
    run(["nft", "-f", "-"], stdin=THEIRS)
    theirs = [
        *(["-A", chain, "-p", "udp", "-j", "ACCEPT"] for chain in ("INPUT", "OUTPUT", "FORWARD")),
        ["-N", "THEIRS"],
        ["-A", "THEIRS", "-m", "comment", "--comment", "not -j UDPSEC-INPUT", "-j", "RETURN"],
        ["-A", "FORWARD", "-p", "udp", "-j", "THEIRS"],
        ["-t", "mangle", "-A", "INPUT", "-p", "udp", "-j", "ACCEPT"],
    ]
    for words in theirs:
        for tool in (f"{tool}-{variant}" for tool in TOOLS.values() for variant in found):
            run([tool, "-w", *words])
    return found


@pytest.fixture
def left(node: Node, variants: list[Variant], tmp_path: Path) -> LeftNode:
    """A node on which nothing of ours is yet."""
    node.forget_others()
    (tmp_path / "bin").mkdir()
    return LeftNode(node, variants, tmp_path / "bin")


@pytest.fixture
def governed(left: LeftNode, k2s: K2s, host: Host, tmp_path: Path) -> LeftNode:
    """The same with all that agents can leave there, as the control plane of a K2s."""
    left.leave_rules(tmp_path)
    host.shell = left.shell
    k2s.be_enabled()
    return left


def test_all_of_it_by_one_command(left: LeftNode, tmp_path: Path) -> None:
    """As often as one likes, and where there is nothing."""
    assert left.shell(COMMANDS["linux"]) == Result()
    left.leave_rules(tmp_path)
    assert left.shell(COMMANDS["linux"]).code == 0
    assert left.everything() == left.before


def test_k2s_removes_all_of_it(governed: LeftNode, cli: Cli) -> None:
    outcome = cli.disable()
    assert outcome.error == ""
    assert "Removing the rules that the agent left on the control plane" in outcome.text
    assert "not known" not in outcome.text
    assert governed.everything() == governed.before
    assert cli.disable().id == "addon-already-disabled"


def test_a_node_without_nft(governed: LeftNode, cli: Cli) -> None:
    """The chains go, and the user is told that tables may be left."""
    (governed.bin / "nft").unlink()
    outcome = cli.disable()
    assert outcome.error == ""
    assert re.search(r"rules is not known \(.*nft: not found\)\. To be sure, run", outcome.text)
    assert governed.has_chains() == dict.fromkeys(governed.variants, False)
    assert governed.nft_tables() == {"ip", "inet", "bridge"}
    governed.give("nft")
    assert cli.disable().error == ""
    assert governed.everything() == governed.before


def test_a_node_without_iptables(governed: LeftNode, cli: Cli) -> None:
    """The tables go; nft sees the chains of iptables-nft, but does not remove them."""
    for tool in governed.iptables():
        (governed.bin / tool).unlink()
    outcome = cli.disable()
    assert (outcome.code, outcome.severity) == (1, ERROR)
    assert "could not be removed ('nft list chains' shows them)" in outcome.error
    assert governed.nft_tables() == {"ip"}
    for tool in governed.iptables():
        governed.give(tool)
    assert cli.disable().error == ""
    assert governed.everything() == governed.before
