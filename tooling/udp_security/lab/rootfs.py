# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The files of the agent's image, imitated from what the host has: a busybox userland, nft, ip,
iptables.

Only what the image has is there: of busybox the applets that Alpine builds
(``alpine-applets.txt``), of the tools their binaries, libraries and plugins. Debian's `busybox`
finds programs through PATH as Alpine's does; `busybox-static` prefers its applets to programs of
the same name, so there `ip` means the applet and `/sbin/ip` the tool.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Final

from udp_security.lab import sandbox, tools
from udp_security.lab.errors import LabError

_TOOLS: Final = ("nft", "ip")
_PASSWD: Final = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
_GROUP: Final = "root:x:0:root\nnogroup:x:65533:\nnobody:x:65534:\n"
# nft prints protocols by these names, and by number where the file is missing.
_PROTOCOLS: Final = """ip 0 IP
icmp 1 ICMP
igmp 2 IGMP
tcp 6 TCP
udp 17 UDP
ipv6 41 IPv6
gre 47 GRE
esp 50 IPSEC-ESP
ah 51 IPSEC-AH
ipv6-icmp 58 IPv6-ICMP
sctp 132 SCTP
udplite 136 UDPLite
"""


def applets() -> list[str]:
    """Names of the applets of Alpine's busybox."""
    text = (resources.files("udp_security.lab") / "alpine-applets.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@functools.cache
def build() -> Path:
    """Make the files once per process, inside the sandbox. Returns the directory with usr/ and
    etc/.

    LabError when the host lacks a tool.
    """
    tools.require(("busybox", "ldd", *_TOOLS, "iptables-nft"))
    root = sandbox.STATE / "image"
    for name in ("usr/bin", "usr/sbin", "usr/lib", "etc"):
        (root / name).mkdir(parents=True)
    _busybox(root)
    for tool in _TOOLS:
        _program(root, tool, Path(tools.find(tool)).resolve())
    _iptables(root)
    for name, text in (("passwd", _PASSWD), ("group", _GROUP), ("protocols", _PROTOCOLS)):
        (root / "etc" / name).write_text(text, encoding="ascii")
    (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n", encoding="ascii")
    (root / "etc" / "resolv.conf").touch()
    return root


def _busybox(root: Path) -> None:
    source = Path(tools.find("busybox")).resolve()
    target = root / "usr/bin/busybox"
    shutil.copy2(source, target)
    _libraries(root, source)
    listed = tools.run([str(source), "--list"]).stdout.split()
    for name in set(listed) & set(applets()):
        (root / "usr/bin" / name).symlink_to("busybox")


def _program(root: Path, name: str, source: Path) -> None:
    shutil.copy2(source, root / "usr/sbin" / name)
    _libraries(root, source)


def _iptables(root: Path) -> None:
    """The multi-call binaries under their names; `iptables` is the nft variant, as in the image."""
    nft = Path(tools.find("iptables-nft")).resolve()
    legacy = nft.parent / "xtables-legacy-multi"
    for source in (nft, legacy):
        if not source.exists():
            continue
        _program(root, source.name, source)
        variant = "nft" if source is nft else "legacy"
        for family in ("iptables", "ip6tables"):
            for suffix in ("", "-save", "-restore"):
                (root / "usr/sbin" / f"{family}-{variant}{suffix}").symlink_to(source.name)
                if source is nft:
                    (root / "usr/sbin" / f"{family}{suffix}").symlink_to(source.name)
    libraries = [library for library in _ldd(nft) if library.name.startswith("libxtables")]
    if not libraries:
        raise LabError("cannot tell where iptables keeps its plugins: it does not use libxtables")
    plugins = libraries[0].parent / "xtables"
    shutil.copytree(plugins, _inside(root, plugins), dirs_exist_ok=True)


def _libraries(root: Path, program: Path) -> None:
    for library in _ldd(program):
        target = _inside(root, library)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(library, target)


def _ldd(program: Path) -> list[Path]:
    """Paths of the shared libraries and the loader a program needs; none for a static one."""
    result = subprocess.run(
        [tools.find("ldd"), str(program)],
        capture_output=True,
        text=True,
        env=tools.environment(),
        check=False,
    )
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", result.stdout)]


def _inside(root: Path, path: Path) -> Path:
    """Where a library goes: /lib and /lib64 are links into /usr in the container."""
    parts = path.parts[1:]
    return root.joinpath(*parts) if parts[0] == "usr" else root.joinpath("usr", *parts)
