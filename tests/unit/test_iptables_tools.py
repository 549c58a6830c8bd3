# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Which variant of iptables the agent takes, and what it says where none works: with fake tools."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from tests.lab.iptables import call

from udp_security.lab import rootfs, tools

TOOLS: Final = ("iptables", "ip6tables")
OURS: Final = ":UDPSEC-INPUT - [0:0]"
THEIRS: Final = ":KUBE-FORWARD - [0:0]"
OLD: Final = "-P INPUT ACCEPT"


class Image:
    """Directories with what an image has, and a pod's state."""

    def __init__(self, root: Path) -> None:
        self.programs, self.state = root / "bin", root / "state"
        self.programs.mkdir()
        (self.state / "policy").mkdir(parents=True)
        (self.state / "policy" / "policy.rules").write_text("denyAction reject\n", encoding="ascii")
        busybox = tools.find("busybox")
        for name in rootfs.applets():
            (self.programs / name).symlink_to(busybox)

    def install(
        self, variant: str, holds: str, refusal: str = "", names: Sequence[str] = TOOLS
    ) -> None:
        """A variant of the tools, what its tables hold, and what it says when it loads nothing."""
        save = f"echo '{holds}'"
        restore = (
            f"cat >{self.state}/loaded; [ -z '{refusal}' ] || {{ echo '{refusal}' >&2; exit 1; }}"
        )
        for tool in names:
            for program, code in (("save", save), ("restore", restore)):
                file = self.programs / f"{tool}-{variant}-{program}"
                file.write_text(f"#!/bin/sh\n{code}\n", encoding="ascii")
                file.chmod(0o755)

    def says(self, code: str) -> str:
        """What this prints after the agent's functions."""

        def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
            return subprocess.run(command, capture_output=True, text=True, check=check)

        return call(run, self.state, f"PATH={self.programs}; {code}", check=False).stdout


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Image]:
    """An image without any iptables."""
    yield Image(tmp_path)


@pytest.mark.parametrize(
    ("holds", "chosen"),
    [
        ({"nft": OLD, "legacy": OLD}, "nft legacy"),
        ({"nft": OLD, "legacy": THEIRS}, "legacy nft"),
        ({"nft": THEIRS, "legacy": THEIRS}, "nft legacy"),
        ({"nft": THEIRS, "legacy": OURS}, "legacy nft"),
        ({"nft": OURS, "legacy": THEIRS}, "nft legacy"),
        ({"legacy": OLD}, "legacy"),
        ({}, ""),
    ],
)
def test_the_variant_that_the_node_uses(
    image: Image, holds: Mapping[str, str], chosen: str
) -> None:
    for variant, text in holds.items():
        image.install(variant, text)
    assert image.says("variants").split() == chosen.split()


def test_what_works_is_kept(image: Image) -> None:
    image.install("nft", THEIRS, "RULE_APPEND failed (No such file or directory)")
    image.install("legacy", OLD)
    assert image.says("iptables_usable && variant") == "legacy\n"
    # Another process of the pod does the same, whatever the node's own rules are by now.
    image.install("nft", THEIRS)
    assert image.says("variant; iptables_present && variant") == "legacy\nlegacy\n"
    loaded = (image.state / "loaded").read_text(encoding="ascii")
    assert "-A UDPSEC-T-a -j REJECT\n" in loaded and "-X UDPSEC-T-a\n" in loaded


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        ("Permission denied (you must be root)", "the container needs the capability NET_ADMIN"),
        ("can not open lock file", "iptables-legacy needs the node's /run/xtables.lock, writable"),
        ("can not initialize: Table does not exist", "this kernel lacks a module for it"),
    ],
)
def test_why_none_works(image: Image, refusal: str, remedy: str) -> None:
    image.install("nft", OLD, f"# Warning: legacy tables present\n{refusal}")
    out = image.says("iptables_usable || echo failed")
    told = refusal.replace("\n", " ")
    assert out.startswith(f"iptables-nft: {told} (") and remedy in out
    assert out.endswith("\nfailed\n")
    out = image.says("iptables_present || echo failed")
    assert 'event=no-iptables node="node" policy= msg="iptables does not work here: ' in out


def test_both_families_have_to_work(image: Image) -> None:
    """Otherwise IPv6 would be open beside IPv4's rules."""
    image.install("nft", OLD)
    refusal = "RULE_APPEND failed (No such file or directory): rule in chain UDPSEC-T-a"
    image.install("nft", OLD, refusal, ["ip6tables"])
    out = image.says("iptables_usable || echo failed")
    assert out == f"ip6tables-nft: {refusal}\nfailed\n"
    # Where there is no IPv6 to guard, IPv4 is enough.
    save = image.programs / "ip6tables-nft-save"
    save.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
    assert image.says("iptables_usable && variant") == "nft\n"


def test_an_image_without_iptables(image: Image) -> None:
    expected = "this image has no iptables-nft and no iptables-legacy\n"
    assert image.says("iptables_usable") == expected


def test_a_tool_that_hangs_is_killed(image: Image) -> None:
    image.install("nft", OLD)
    hanging = image.programs / "iptables-nft-restore"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n", encoding="ascii")
    out = image.says("XTABLES_SECONDS=0.2; iptables_usable")
    assert "iptables-nft-restore was killed (it took over 0.2 seconds" in out
