# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What is compared: ways to guard the node, each loaded once and switched on and off at will."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from udp_security.bench import policies
from udp_security.bench.source import PORT
from udp_security.bench.track import Track
from udp_security.chart import chart_dir
from udp_security.lab import tools
from udp_security.lab.errors import LabError

# Lines of iptables-restore that a node may be asked to load.
_MOST: Final = 60_000
REFERENCE: Final = "reference's iptables list"

# How an iptables rule's line begins that adds it: to a chain, at a position.
_ADDING: Final = re.compile(r"^-[AI] (\S+)( \d+)?")
# What the agent loads of policy.nft as a transaction of its own begins with this.
_HOOKS: Final = "# hooks: "


class Variant(Protocol):
    """A way to guard the node. Between ``load`` and ``unload`` it is off until ``switch(True)``."""

    name: str

    def load(self, track: Track) -> None:
        """Bring the rules to the node."""

    def switch(self, track: Track, on: bool) -> None:
        """Let packets meet the rules, or no longer, in a few milliseconds."""

    def unload(self, track: Track) -> None:
        """Leave the node as it was before ``load``."""


class Bare:
    """The node alone: what everything else is compared with. Under a second name it shows how far
    two equal variants come out apart."""

    def __init__(self, name: str = "bare") -> None:
        self.name = name

    def load(self, track: Track) -> None:
        """Nothing to bring."""

    def switch(self, track: Track, on: bool) -> None:
        """Nothing to switch."""

    def unload(self, track: Track) -> None:
        """Nothing to leave."""


class NftTables:
    """Tables in nft's words, each text one transaction. They sleep (``flags dormant``) while they
    are off: sets and counters stay, hooks are gone."""

    def __init__(self, name: str, texts: Sequence[str]) -> None:
        self.name = name
        self._texts = texts
        self._tables = dict.fromkeys(
            found[1] for text in texts for found in re.finditer(r"(?m)^table (\w+ \S+)", text)
        )

    def tables(self, family: str) -> list[str]:
        """The names of its tables of a family."""
        return [table.split()[1] for table in self._tables if table.startswith(f"{family} ")]

    def load(self, track: Track) -> None:
        """Load the texts, asleep at the end."""
        for text in self._texts:
            track.nft(text)
        self.switch(track, False)

    def switch(self, track: Track, on: bool) -> None:
        """Wake the tables, or send them to sleep."""
        flags = "" if on else "flags dormant; "
        track.nft("".join(f"add table {table} {{ {flags}}}\n" for table in self._tables))

    def unload(self, track: Track) -> None:
        """Delete the tables."""
        track.nft("".join(f"delete table {table}\n" for table in self._tables))


def empty_hooks() -> NftTables:
    """Base chains without a rule: the least that anything in nftables can cost."""
    chains = "".join(
        f"chain {hook} {{ type filter hook {hook} priority filter - 10; policy accept; }}\n"
        for hook in ("input", "output", "forward")
    )
    return NftTables("empty hooks", [f"table inet bench_empty {{\n{chains}}}\n"])


def nftables(name: str, values: Mapping[str, Any]) -> NftTables:
    """Ours, as the chart renders it, the cache trusted. Tables are named after the variant, so that
    several can be on the node."""
    files = policies.files(values)
    # The agent deletes the purge's chains some minutes after a change.
    settled = re.sub(r"(?m)^.* purge\..*\n", "", files["policy.nft"])
    ruleset, hooks, pointing = settled.partition(_HOOKS)
    table = "bench_" + re.sub(r"\W+", "_", name)
    return NftTables(
        name,
        [
            re.sub(r"\b(inet|bridge) udp_security\b", rf"\1 {table}", text)
            for text in (ruleset, hooks + pointing, files.get("policy.bridge", ""))
            if text
        ],
    )


class IptablesChains:
    """Chains of the filter table in iptables' words, and the rules that lead to them."""

    def __init__(self, name: str, lines: Sequence[str], hooks: Sequence[str]) -> None:
        """``lines`` and ``hooks`` as iptables-restore has them."""
        self.name = name
        self._lines = lines
        self._hooks = hooks
        self._chains = dict.fromkeys(line.split()[1] for line in lines if line.startswith("-A "))

    def load(self, track: Track) -> None:
        """Declare and fill the chains."""
        _restore(track, [*(f":{chain} - [0:0]" for chain in self._chains), *self._lines])

    def switch(self, track: Track, on: bool) -> None:
        """Lead packets there, or no longer."""
        _restore(track, self._hooks if on else [_ADDING.sub(r"-D \1", one) for one in self._hooks])

    def unload(self, track: Track) -> None:
        """Empty and remove the chains."""
        for option in ("-F", "-X"):
            _restore(track, [f"{option} {chain}" for chain in self._chains])


def _restore(track: Track, lines: Sequence[str]) -> None:
    text = "\n".join(["*filter", *lines, "COMMIT", ""])
    track.ns("node").run(["iptables-nft-restore", "--noflush"], stdin=text)


def reference(count: int) -> IptablesChains:
    """The published reference's way, one rule for each entry and a drop at the end; ours is the
    last entry. No reply ever comes, so the accept of established flows is no short cut."""
    chain = "REFERENCE"
    return IptablesChains(
        REFERENCE,
        [
            f"-A {chain} -m state --state ESTABLISHED,RELATED -j ACCEPT",
            *(
                f"-A {chain} -s {address} -p udp --dport {PORT} -j ACCEPT"
                for address in policies.addresses(count)
            ),
            f"-A {chain} -p udp -j DROP",
        ],
        [f"-A INPUT -j {chain}", f"-A FORWARD -j {chain}"],
    )


def iptables(name: str, values: Mapping[str, Any]) -> IptablesChains:
    """Ours for kernels without nftables, as the agent compiles it."""
    files = policies.files(policies.with_linux(values, backend="iptables"))
    program = chart_dir() / "files" / "linux" / "iptables.awk"
    settings = ["-v", "family=4", "-v", "generation=0", "-v", f"most={_MOST}"]
    command = ["awk", *settings, "-f", str(program), "-"]
    compiled = tools.run(command, stdin=files["policy.rules"], check=False)
    if compiled.returncode != 0:
        raise LabError(compiled.stderr.strip())
    text = compiled.stdout
    lines = [line for line in text.splitlines() if line.startswith("-A ")]
    hooks = [line for line in text.splitlines() if line.startswith("-I ")]
    return IptablesChains(name, lines, hooks)


@contextlib.contextmanager
def loaded(track: Track, variants: Sequence[Variant]) -> Iterator[None]:
    """The variants on the node, all switched off."""
    with contextlib.ExitStack() as stack:
        for variant in variants:
            variant.load(track)
            stack.callback(variant.unload, track)
        yield
