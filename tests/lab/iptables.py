# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What tests of the iptables backend read from a node, and how they call its functions."""

from __future__ import annotations

import contextlib
import random
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, Final, Literal

from udp_security.chart import chart_dir
from udp_security.lab import tools
from udp_security.lab.addresses import cluster_values

Variant = Literal["nft", "legacy"]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
"""``Wire.run``, or ``Lab.run`` for one node."""

VARIANTS: Final[tuple[Variant, ...]] = ("nft", "legacy")
TOOLS: Final = {4: "iptables", 6: "ip6tables"}
_SCRIPTS: Final = chart_dir() / "files" / "linux"
_COUNTING: Final = re.compile(
    r'\[(\d+):(\d+)\] -A UDPSEC-\S+ -m comment --comment "?((?:r|denied)\.[^" ]+)"? -j RETURN'
)
# The agent's functions for a pod "a", whose state is a directory of the test's.
_FUNCTIONS: Final = """
set -u
STOPPING= WOKEN= SLEEPING= FAILED= WANTED= NODE_NAME=node RELEASE=udp-security/udp-security POLL=1
BACKEND=iptables STATE=$1 SELF=$2
for part in log policy node backend nftables iptables owner watch status; do . "$3/$part.sh"; done
"""


def saved(run: Run, variant: Variant, *options: str) -> dict[int, str]:
    """The filter tables as iptables-save prints them, without its remarks, by family."""
    found = {}
    for family, tool in TOOLS.items():
        text = run([f"{tool}-{variant}-save", "-t", "filter", *options]).stdout
        found[family] = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    return found


def counters(run: Run, variant: Variant) -> dict[str, int]:
    """Packets by counter, of both families together."""
    found: dict[str, int] = {}
    for text in saved(run, variant, "-c").values():
        for packets, _, name in _COUNTING.findall(text):
            found[name] = found.get(name, 0) + int(packets)
    return found


def ours(text: str) -> list[str]:
    """The lines of a saved table that are ours."""
    return [line for line in text.splitlines() if "UDPSEC-" in line]


def others(text: str) -> str:
    """The rest of it, without built-in chains' counters."""
    lines = (line for line in text.splitlines(keepends=True) if "UDPSEC-" not in line)
    return re.sub(r"(?m)^(:\S+ \S+) \[\d+:\d+\]$", r"\1", "".join(lines))


class Counting:
    """The counters for ``differential.agree``."""

    def __init__(self, run: Run, variant: Variant) -> None:
        self._run, self._variant = run, variant

    def packets(self) -> dict[str, int]:
        """How many packets each counter has counted."""
        return counters(self._run, self._variant)


def call(
    run: Run, state: Path, code: str, *, pod: str = "a", check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run code after the agent's functions, as a pod whose state directory this is."""
    shell = [tools.find("busybox"), "sh", "-c", _FUNCTIONS + code]
    return run([*shell, "agent", str(state), pod, str(_SCRIPTS)], check=check)


def prepare(state: Path, files: dict[str, str], variant: Variant | None = None) -> None:
    """A state directory with a policy, and the variant that a pod chose before."""
    (state / "policy").mkdir(exist_ok=True)
    for name in ("policy.rules", "policy.facts", "iptables.awk"):
        (state / "policy" / name).write_text(files[name], encoding="utf-8")
    if variant is not None:
        (state / "variant").write_text(f"{variant}\n", encoding="ascii")


def deep(ports: int, networks: int, *directions: str) -> dict[str, Any]:
    """Values whose IPv6 half looks up much in a row: the cluster, whether this may be an untracked
    reply, and a rule's ports, sources and destinations, in each of these directions."""
    numbers = random.Random(1)

    def some() -> list[str]:
        return [
            str(IPv6Network(((0x20010DB8 << 96 | numbers.getrandbits(64) << 32) >> 64 << 64, 64)))
            for _ in range(networks)
        ]

    cluster = cluster_values()
    return {
        "cluster": {**cluster, "podCIDRs": [*cluster["podCIDRs"], *some()]},
        "linux": {"scope": "cluster", "untrackedReplyAddresses": ["fd00::1"]},
        "rules": [
            {
                "name": direction,
                "direction": direction,
                "ports": list(range(1, 2 * ports, 2)),
                "from": some(),
                "to": some(),
            }
            for direction in directions
        ],
    }


def legacy_missing(run: Run) -> str | None:
    """Why the legacy variant cannot be tested here; None when it can."""
    words: Sequence[str] = ("iptables-legacy", "-w", "-n", "-L", "INPUT")
    try:
        done = run(words, check=False)
    except FileNotFoundError:
        return "iptables-legacy is not installed (apt-get install iptables)"
    return None if done.returncode == 0 else f"iptables-legacy does not work: {done.stderr.strip()}"


@contextlib.contextmanager
def used_variant(run: Run, variant: Variant) -> Iterator[None]:
    """The node's own rules, as far as an agent looks at them, are this variant's. (The lab's are
    of iptables-nft, but a chain of ours counts more.)"""
    tool = f"iptables-{variant}"
    run([tool, "-w", "-N", "UDPSEC-T-before"])
    try:
        yield
    finally:
        run([tool, "-w", "-X", "UDPSEC-T-before"], check=False)
