# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the agent finds out about its node: what passes by its rules, and which ports NAT takes.

Really, where this kernel has it; else from what the kernel or its tools would say.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from tests.lab.agents import POLICY, Node, documents, replace, status, with_files

from udp_security.chart import chart_dir
from udp_security.lab import sandbox, tools
from udp_security.lab.errors import LabError
from udp_security.lab.netns import Namespace

SCRIPTS: Final = chart_dir() / "files" / "linux"
OFF: Final = {**POLICY, "linux": {"antiSpoofing": False}}
TAGGED: Final = "VLAN-tagged frames within bridge cni0: "
REMEDY: Final = " (setting bridge-nf-filter-vlan-tagged to 1 governs those with one tag)"


def test_without_antispoofing_tagged_frames_are_not_governed(node: Node) -> None:
    pod = node.start(documents(OFF))
    words = f"{TAGGED}linux.antiSpoofing is off{REMEDY}"
    assert status(pod)["notGoverned"] == [words]
    assert pod.exec("check").stdout.splitlines()[1:] == [f"not governed: {words}"]
    node.lab.ns("node").sysctl({"net/bridge/bridge-nf-filter-vlan-tagged": 1})
    try:
        doubled = "frames with two VLAN tags within bridge cni0: linux.antiSpoofing is off"
        assert status(pod)["notGoverned"] == [doubled]
    finally:
        node.lab.ns("node").sysctl({"net/bridge/bridge-nf-filter-vlan-tagged": 0})


def test_a_kernel_without_tables_for_bridged_frames(node: Node) -> None:
    """The policy is in force all the same, and the frames are reported with the kernel's words."""

    def refuse(data: dict[str, str]) -> None:
        replace(data, "policy.bridge", "meta l4proto != udp accept", "fib daddr type local accept")

    pod = node.start(with_files(POLICY, refuse))
    (told,) = status(pod)["notGoverned"]
    assert told.startswith(f"{TAGGED}/")
    assert "rror" in told
    assert told.endswith(REMEDY)
    assert status(pod)["healthy"]
    assert "bridge udp_security" not in node.nft("list", "tables")


def test_nothing_to_report(node: Node) -> None:
    assert status(node.start())["notGoverned"] == []


# bpf(2), and a program that lets every packet go on: r0 = XDP_PASS, exit.
_BPF: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_PROG_LOAD, _LINK_CREATE = 5, 28
_TYPE_XDP, _ATTACH_XDP = 6, 37
_PASS: Final = struct.pack("<BBhi", 0xB7, 0, 0, 2) + struct.pack("<BBhi", 0x95, 0, 0, 0)


def bpf(command: int, attributes: bytes) -> int:
    """bpf(2). OSError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    number = ctypes.c_long(_BPF[platform.machine()])
    result = libc.syscall(number, ctypes.c_int(command), buffer, ctypes.c_int(len(attributes)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


@contextlib.contextmanager
def xdp(namespace: Namespace, device: str) -> Iterator[None]:
    """An XDP program on a device that lets everything pass."""
    code, license_ = ctypes.create_string_buffer(_PASS), ctypes.create_string_buffer(b"MIT")
    load = struct.pack(
        "=IIQQ", _TYPE_XDP, 2, ctypes.addressof(code), ctypes.addressof(license_)
    ).ljust(48, b"\0")
    with contextlib.ExitStack() as stack:
        try:
            program = bpf(_PROG_LOAD, load)
            stack.callback(os.close, program)
            link = namespace.call(
                lambda: bpf(
                    _LINK_CREATE,
                    struct.pack("=IIII", program, socket.if_nametoindex(device), _ATTACH_XDP, 0),
                )
            )
        except PermissionError as error:
            if not sandbox.rootless():
                raise
            pytest.skip(f"only root may load BPF programs: {error}")
        stack.callback(os.close, link)
        yield


def test_xdp(node: Node) -> None:
    pod = node.start()
    with xdp(node.lab.ns("node"), "eth0"):
        (told,) = status(pod)["notGoverned"]
    assert re.fullmatch(
        r"packets that XDP program \d+ of device eth0 handles: it comes before all hooks"
        r" \(detach it, unless it passes UDP on\)",
        told,
    )
    assert status(pod)["notGoverned"] == []


class Shell:
    """The agent's functions in busybox, in a network namespace of its own."""

    def __init__(self, namespace: Namespace, directory: Path) -> None:
        self._namespace = namespace
        self._directory = directory
        (directory / "policy").mkdir()
        (directory / "policy" / "nat.awk").symlink_to(SCRIPTS / "nat.awk")
        (directory / "policy" / "policy.bridge").touch()
        (directory / "policy" / "policy.facts").touch()
        try:
            self._busybox = tools.find("busybox")
        except LabError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(error))

    def run(self, code: str, *, said: Mapping[str, str] | None = None) -> list[str]:
        """The lines that it prints. ``said``: what these functions print instead of doing anything;
        IPVS is the kernel's file."""
        lines = [f"STATE={self._directory}; BACKEND=nftables; POD_BRIDGE=cni0"]
        lines += [f". {SCRIPTS / name}.sh" for name in ("log", "policy", "nftables", "node")]
        for name, text in (said or {}).items():
            (self._directory / name).write_text(text, encoding="utf-8")
            file = self._directory / name
            lines.append(f"IPVS={file}" if name == "IPVS" else f"{name}() {{ cat {file}; }}")
        script = "\n".join([*lines, code])
        return self._namespace.run([self._busybox, "sh", "-c", script]).stdout.splitlines()


@pytest.fixture(scope="module")
def own(sandboxed: None) -> Iterator[Namespace]:
    """A namespace without anything."""
    namespace = Namespace("detection")
    yield namespace
    namespace.delete()


@pytest.fixture
def shell(own: Namespace, tmp_path: Path) -> Iterator[Shell]:
    """A shell in it; its rules are gone at the end."""
    yield Shell(own, tmp_path)
    own.run(["nft", "flush", "ruleset"])


def test_ipvs(shell: Shell) -> None:
    services = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  AC15000A:0035 rr
  -> AC14000A:0035      Masq    1      0          0
UDP  AC15000A:0035 rr
  -> AC14000A:0035      Masq    1      0          0
UDP  [fd00:0172:0021:0000:0000:0000:0000:0010]:0035 rr
"""
    assert shell.run("not_governed", said={"IPVS": services}) == [
        "destinations behind 2 UDP services of IPVS: a flow is judged as ingress to the service"
        " itself (let kube-proxy use iptables or nftables, or allow ingress to the services)"
    ]
    tcp = "".join(line for line in services.splitlines(True) if "UDP" not in line)
    assert shell.run("not_governed", said={"IPVS": tcp}) == []


def test_flowtables(shell: Shell) -> None:
    tables = """table inet fast {
	flowtable ft {
		hook ingress priority filter
		devices = { eth0, eth1 }
	}
}
"""
    assert shell.run("not_governed", said={"run_nft": tables}) == [
        "flows taken over by flowtable ft of table inet fast: they pass by all hooks"
        " (keep UDP out of it)"
    ]


def test_a_bridge_with_vlans(shell: Shell) -> None:
    links = (
        "4: br0: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN \\    link/ether"
        " 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff \\    bridge forward_delay 1500 ageing_time 30000"
        " vlan_filtering 1 vlan_protocol 802.1Q \n"
        "5: br1: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN \\    bridge forward_delay"
        " 1500 vlan_filtering 0 vlan_protocol 802.1Q \n"
    )
    settings = "bridge_setting() { case $1 in call-*) echo 1 ;; *) echo 0 ;; esac; }; "
    assert shell.run(f"{settings} not_governed", said={"iproute2": links}) == [
        "VLAN-tagged frames within bridge br0: its vlan_filtering is on"
        " (set bridge-nf-filter-vlan-tagged to 1)"
    ]


def test_where_antispoofing_does_not_look(shell: Shell) -> None:
    """Pods behind another bridge, or at ports with other names, would be taken for guarded."""
    links = "4: cbr0: <BROADCAST> mtu 1500\n5: cni0: <BROADCAST> mtu 1500\n6: br0: <> mtu 1500\n"
    code = (
        "inner_ports() { case $1 in cbr0) echo veth1 ;; cni0) printf 'veth2\nlxc3\nlxc4\n' ;; esac"
        "; }; bridge_setting() { case $1 in call-*) echo 1 ;; *) echo 0 ;; esac; }"
        "; no_bridge_table() { :; }; echo antiSpoofing yes >$STATE/policy/policy.facts"
        "; not_governed"
    )
    assert shell.run(code, said={"iproute2": links}) == [
        "source addresses that are forged behind bridge cbr0: linux.antiSpoofing looks at cni0"
        " alone",
        "VLAN-tagged frames from lxc3 lxc4 of bridge cni0: linux.antiSpoofing looks at ports called"
        " veth* alone (set bridge-nf-filter-vlan-tagged to 1)",
    ]


def test_what_iptables_cannot_tell(shell: Shell) -> None:
    code = "BACKEND=iptables; echo antiSpoofing yes >$STATE/policy/policy.facts; not_governed"
    assert shell.run(code) == [
        "source addresses that pods forge: backend iptables cannot tell"
        " (linux.backend nftables can)"
    ]


ALL: Final = [64 * block for block in range(1024)]

# Rules as iptables-save prints them, and the blocks of ports that they may translate.
IPTABLES: Final = {
    "none": ("-A POSTROUTING -p udp --dport 53 -j MASQUERADE", []),
    "what-goes-out": ("-A OUTPUT -p udp -j DNAT --to-destination 10.0.0.1:53", []),
    "tcp": ("-A PREROUTING -p tcp -j REDIRECT --to-ports 80", []),
    "port": ("-A PREROUTING -p udp -m udp --dport 514 -j DNAT --to-destination 10.0.0.1:5", [512]),
    "range": ("-A PREROUTING -p udp -m udp --dport 100:200 -j REDIRECT --to-ports 5",
              [64, 128, 192]),
    "list": ("-A PREROUTING -p udp -m multiport --dports 1,70:71,65535 -j REDIRECT --to-ports 5",
             [0, 64, 65472]),
    "any-protocol": ("-A PREROUTING -d 10.0.0.2/32 -j DNAT --to-destination 10.0.0.1", ALL),
    "no-port": ("-A PREROUTING -p udp -j REDIRECT --to-ports 5", ALL),
    "source-port": ("-A PREROUTING -p udp -m udp --sport 53 -j REDIRECT --to-ports 5", ALL),
    "all-but-tcp": ("-A PREROUTING ! -p tcp -j REDIRECT", ALL),
    "all-but-a-port": ("-A PREROUTING -p udp -m udp ! --dport 53 -j REDIRECT --to-ports 5", ALL),
    "through-chains": (
        "-A PREROUTING -j A\n-A A -m addrtype --dst-type LOCAL -g B\n"
        "-A B -p udp -m udp --dport 53 -j C\n-A C -j DNAT --to-destination 10.0.0.1:5", [0]),
    "through-a-chain-without-a-port": (
        "-A PREROUTING -j A\n-A A -p udp -j DNAT --to-destination 10.0.0.1:5", ALL),
    "a-circle": ("-A PREROUTING -j A\n-A A -j B\n-A B -j A", []),
    "unused-chain": ("-A A -j DNAT --to-destination 10.0.0.1:5", []),
    "a-comment-that-looks-so": (
        '-A PREROUTING -m comment --comment "-p tcp \\" --dport 53" -j REDIRECT --to-ports 5', ALL),
}  # fmt: skip


def blocks(shell: Shell, listing: str) -> list[int]:
    """What the listing makes of it."""
    return [
        int(line)
        for line in shell.run(
            "cat $STATE/listing | awk -f $STATE/policy/nat.awk", said={"listing": listing}
        )
    ]


@pytest.mark.parametrize(("rules", "expected"), IPTABLES.values(), ids=IPTABLES)
def test_iptables(shell: Shell, rules: str, expected: list[int]) -> None:
    assert blocks(shell, f"*nat\n:PREROUTING ACCEPT [0:0]\n{rules}\nCOMMIT\n") == expected


# What nft prints of iptables' own rules when it is built without their names.
XTABLES: Final = """table ip nat {
\tchain PREROUTING {
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t\txt match "addrtype" counter packets 0 bytes 0 jump D
\t}
\tchain D {
\t\tmeta l4proto udp udp dport %s counter packets 0 bytes 0 xt target "DNAT"
\t}
}
"""


def test_nftables_without_xtables(shell: Shell) -> None:
    assert blocks(shell, XTABLES % "514") == [512]
    assert blocks(shell, XTABLES % "!= 514") == ALL


CHAIN: Final = "chain c { meta l4proto udp redirect to :5; }\n"
# Rules of an nftables chain at the prerouting hook, what else is in its table, and blocks.
NFT: Final = {
    "port": ("udp dport 514 dnat ip to 10.0.0.1:5", "", [512]),
    "range": ("udp dport 100-200 redirect to :5", "", [64, 128, 192]),
    "set": ("udp dport { 1, 70-71, 65535 } redirect to :5", "", [0, 64, 65472]),
    "named-set": (
        "udp dport @s redirect to :5",
        "set s { type inet_service; flags interval; elements = { 514, 600-700 }; }",
        [512, 576, 640],
    ),
    "large-named-set": (
        "udp dport @s redirect to :5",
        f"set s {{ type inet_service; elements = {{ {', '.join(map(str, ALL[:99]))} }}; }}",
        ALL[:99],
    ),
    "empty-named-set": ("udp dport @s redirect to :5", "set s { type inet_service; }", []),
    "any-transport": ("meta l4proto { tcp, udp } th dport 514 redirect to :5", "", [512]),
    "port-map": ("dnat ip to udp dport map { 514 : 10.0.0.1 . 5 }", "", [512]),
    "named-port-map": (
        "dnat ip to udp dport map @m",
        "map m { type inet_service : ipv4_addr . inet_service;"
        " elements = { 514 : 10.0.0.1 . 5 }; }",
        [512],
    ),
    "verdict-map": ("udp dport vmap { 514 : goto c, 70 : accept }", CHAIN, [64, 512]),
    "concatenation": (
        "ip daddr . meta l4proto . th dport vmap @m",
        f"{CHAIN} map m {{ type ipv4_addr . inet_proto . inet_service : verdict; elements = {{"
        ' 10.0.0.1 . udp . 514 comment "a, b" : goto c, 10.0.0.1 . tcp . 70 : goto c }; }',
        [512],
    ),
    "typeof": (
        "ip daddr . meta l4proto . th dport vmap @m",
        f"{CHAIN} map m {{ typeof ip daddr . meta l4proto . th dport : verdict;"
        " elements = { 10.0.0.1 . udp . 514 : goto c }; }",
        [512],
    ),
    "port-first": (
        "udp dport . ip daddr vmap @m",
        f"{CHAIN} map m {{ type inet_service . ipv4_addr : verdict;"
        " elements = { 514 . 10.0.0.1 : goto c }; }",
        [512],
    ),
    "address-then-port": (
        "ip daddr vmap { 10.0.0.1 : goto c }",
        "chain c { udp dport 514 redirect to :5; }",
        [512],
    ),
    "tcp": ("tcp dport 80 redirect to :5", "", []),
    "protocol": ("meta l4proto tcp redirect to :5", "", []),
    "no-port": ("ip daddr 10.0.0.2 dnat ip to 10.0.0.1", "", ALL),
    "another-port": ("udp dport != 53 redirect to :5", "", ALL),
    "source-port": ("udp sport 53 redirect to :5", "", ALL),
    "address-map": ("ip daddr vmap { 10.0.0.1 : goto c }", CHAIN, ALL),
    "named-address-map": (
        "ip daddr vmap @m",
        f"{CHAIN} map m {{ type ipv4_addr : verdict; elements = {{ 10.0.0.1 : goto c }}; }}",
        ALL,
    ),
    "anonymous-concatenation": (
        "meta mark . udp dport { 0x00000005 . 514 } redirect to :5", "", ALL),
    "a-comment-that-looks-so": (
        'meta l4proto udp redirect to :5 comment "udp dport 53"', "", ALL),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "others", "expected"), NFT.values(), ids=NFT)
def test_nftables(
    own: Namespace, shell: Shell, rule: str, others: str, expected: list[int]
) -> None:
    """As the kernel and nft give the table back."""
    hook = "type nat hook prerouting priority dstnat; policy accept;"
    text = f"table inet other {{\n{others}\nchain in {{\n{hook}\n{rule}\n}}\n}}\n"
    own.run(["nft", "-f", "-"], stdin=text)
    assert [int(line) for line in shell.run("nat_ports")] == expected


def test_all_tables_count(own: Namespace, shell: Shell) -> None:
    for family, port in (("ip", 100), ("ip6", 200), ("inet", 300)):
        hook, rule = "type nat hook prerouting priority 0;", f"udp dport {port} redirect to :5"
        text = f"table {family} other {{\nchain in {{\n{hook}\n{rule}\n}}\n}}\n"
        own.run(["nft", "-f", "-"], stdin=text)
    rule = "*nat\n-A PREROUTING -p udp -m udp --dport 500 -j REDIRECT --to-ports 5\nCOMMIT\n"
    own.run(["iptables-nft-restore", "--noflush"], stdin=rule)
    assert shell.run("nat_ports") == ["64", "192", "256", "448"]


def test_what_cannot_be_listed_may_be_any_port(shell: Shell) -> None:
    assert shell.run("nat_ports") == []
    assert shell.run("run_nft() { return 1; }; nat_ports") == [str(block) for block in ALL]


def test_legacy_tables(tmp_path: Path) -> None:
    """A namespace keeps a legacy table for good. A container without NET_RAW cannot list it."""
    namespace = Namespace("detection-legacy")
    try:
        shell = Shell(namespace, tmp_path)
        rule = "*nat\n-A PREROUTING -p udp -m udp --dport 500 -j REDIRECT --to-ports 5\nCOMMIT\n"
        for tool in ("iptables-legacy-restore", "ip6tables-legacy-restore"):
            done = namespace.run([tool], stdin=rule, check=False)
            if done.returncode:
                pytest.skip(f"this kernel has no legacy tables: {done.stderr.strip()}")
        assert shell.run("nat_ports") == ["448"]
        for tool in ("iptables-legacy-save", "ip6tables-legacy-save"):
            refusing = tmp_path / tool
            refusing.mkdir()
            (refusing / tool).write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
            (refusing / tool).chmod(0o755)
            assert shell.run(f"PATH={refusing}:$PATH; nat_ports") == [str(block) for block in ALL]
    finally:
        namespace.delete()
