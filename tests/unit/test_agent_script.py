# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The Linux agent's script by itself: what it needs, and its functions, in busybox's own shell."""

from __future__ import annotations

import atexit
import functools
import ipaddress
import json
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udp_security.chart import chart_dir
from udp_security.lab import rootfs, tools
from udp_security.lab.errors import LabError

DIRECTORY = chart_dir() / "files" / "linux"
ENTRY = (DIRECTORY / "agent.sh").read_text(encoding="utf-8")
# What the entry sets, then the other files' functions; without the command at its end.
SETTINGS, _, _COMMANDS = re.split(r"(?m)((?:^\. .*\n)+)", ENTRY)
PARTS = re.findall(r'(?m)^\. "\$HERE/(\w+)\.sh"$', ENTRY)
FUNCTIONS = "\n".join(
    [SETTINGS, *((DIRECTORY / f"{part}.sh").read_text(encoding="utf-8") for part in PARTS)]
)

# What POSIX and busybox ash build in, as far as the script may use it.
BUILTINS = {
    "[", ":", ".", "break", "cd", "command", "continue", "echo", "exec", "exit", "export", "kill",
    "printf",
    "read", "return", "set", "shift", "trap", "umask", "wait",
}  # fmt: skip
KEYWORDS = {
    "!", "{", "}", "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done",
    "case", "esac", "in",
}  # fmt: skip
# Beside applets the image has these.
PROGRAMS = {"nft", "iptables-legacy-save", "ip6tables-legacy-save"}


@functools.cache
def applets() -> Path:
    """A directory with the applets of Alpine's busybox and nothing else."""
    try:
        busybox = tools.find("busybox")
    except LabError as error:
        pytest.skip(str(error))
    root = Path(tempfile.mkdtemp(prefix="udp-security-agent-"))
    atexit.register(shutil.rmtree, root)
    directory = root / "bin"
    directory.mkdir()
    listed = tools.run([busybox, "--list"]).stdout.split()
    for name in set(listed) & set(rootfs.applets()):
        (directory / name).symlink_to(busybox)
    return directory


def start(
    code: str, *arguments: str, path: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """The script's functions, then this code, in busybox ash; ``path`` goes before the applets."""
    functions = applets().parent / "functions.sh"
    if not functions.exists():
        functions.write_text(f'{FUNCTIONS}\neval "$CODE"\n', encoding="utf-8")
    return subprocess.Popen(
        [applets() / "sh", functions, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": f"{path}:{applets()}".lstrip(":"), "CODE": code, **(environment or {})},
    )


def run(code: str, path: str = "", environment: Mapping[str, str] | None = None) -> str:
    """What that prints."""
    with start(code, path=path, environment=environment) as process:
        out, _ = process.communicate(timeout=30)
    return out


class Words:
    """Finds the first word of every command in a shell script; knows the grammar the agent uses."""

    def __init__(self, text: str) -> None:
        # Without here-documents, which are no commands.
        self._text = re.sub(r"(?ms)(<<'?(\w+)'?[^\n]*\n).*?^\2$", r"\1", text)
        self._at = 0
        self.commands: list[str] = []
        self.functions: set[str] = set()

    def read(self, end: str = "") -> None:
        """Read up to a closing character, or to the end of the text."""
        fresh, line, depth = True, len(self.commands), 0
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == end and not depth:
                return
            if character == "#" and fresh:
                self._skip(r"[^\n]*")
            elif character in "\n;&|":
                if character == "\n":
                    line = len(self.commands)
                fresh = True
                self._at += 1
            elif character == "(":
                depth, fresh = depth + 1, True
                self._at += 1
            elif character == ")":
                if depth:
                    depth -= 1
                else:
                    del self.commands[line:]  # they were a case's patterns
                fresh = True
                self._at += 1
            elif character in " \t" or self._text.startswith("\\\n", self._at):
                self._at += 1 + (character == "\\")
            elif character in "<>":
                self._skip(r"[<>]+&?[ \t]*")
                self._word()
            else:
                fresh = self._command(fresh)

    def _command(self, fresh: bool) -> bool:
        """Read one word; whether the next one may be a command's first."""
        word = self._word()
        if self._text.startswith("()", self._at):
            self.functions.add(word)
            self._at += 2
            return True
        if re.fullmatch(r"\d", word) and self._text[self._at : self._at + 1] in ("<", ">"):
            return fresh
        if not fresh or word in ("for", "case"):
            return False
        if word in KEYWORDS or re.match(r"\w+=", word):
            return True
        self.commands.append(word)
        return False

    def _word(self) -> str:
        begin = self._at
        while self._at < len(self._text):
            if self._text.startswith("$((", self._at):
                self._skip(r"(?s:.*?)\)\)")
            elif self._text.startswith("$(", self._at):
                self._at += 2
                self.read(")")
                self._at += 1
            elif self._text.startswith("${", self._at):
                self._skip(r"[^}]*\}")
            elif self._text[self._at] == "'":
                self._skip(r"'[^']*'")
            elif self._text[self._at] == '"':
                self._quoted()
            elif self._text[self._at] == "\\":
                self._at += 2
            elif self._text[self._at] in " \t\n;&|()<>":
                break
            else:
                self._at += 1
        return self._text[begin : self._at]

    def _quoted(self) -> None:
        self._at += 1
        while self._text[self._at] != '"':
            if self._text.startswith("$(", self._at) and self._text[self._at + 2] != "(":
                self._at += 2
                self.read(")")
            elif self._text[self._at] == "\\":
                self._at += 1
            self._at += 1
        self._at += 1

    def _skip(self, pattern: str) -> None:
        found = re.compile(pattern).match(self._text, self._at)
        assert found
        self._at = found.end()


def test_it_is_all_of_its_files() -> None:
    assert {f"{part}.sh" for part in PARTS} | {"agent.sh"} == {
        path.name for path in DIRECTORY.glob("*.sh")
    }


def test_no_file_replaces_a_function_of_another() -> None:
    names = re.findall(r"(?m)^(\w+)\(\) \{", FUNCTIONS)
    assert len(names) == len(set(names)) > 100


def test_it_needs_nothing_that_the_image_lacks() -> None:
    words = Words(f"{FUNCTIONS}\n{_COMMANDS}")
    words.read()
    external = {word for word in words.commands if re.fullmatch(r"[\w\[-]+", word)}
    external -= words.functions | BUILTINS
    assert {"awk", "sed", "sha256sum", "sleep", "tail", "timeout"} <= external
    assert external - PROGRAMS <= set(rootfs.applets())
    # What is no plain word is the command line's own command, a function that another is given, or
    # iproute2 by its path.
    assert {word for word in words.commands if not re.fullmatch(r"[\w\[-]+", word)} == {
        '"$1"',
        '"$@"',
        '"$_directory/ip"',
        '"${BACKEND}_$_function"',
        '"iptables-$_variant-save"',
        ":",
    }


def test_the_words_of_a_script() -> None:
    words = Words(
        """a() {
    one "$(two | three "x $(four)")" 'five' # six
    if ! A=1 seven; then eight 2>/nine && ten >>eleven; fi
    case $x in
    twelve | thirteen) fourteen ;;
    *) ;;
    esac
    for i in fifteen $(sixteen); do seventeen ${i:+eighteen}; done
    { nineteen; } | (twenty $((1 + n)) \\
        continued)
}
"""
    )
    words.read()
    assert words.functions == {"a"}
    assert " ".join(sorted(words.commands)) == (
        "eight four fourteen nineteen one seven seventeen sixteen ten three twenty two"
    )


def test_it_is_a_script_for_busybox() -> None:
    done = subprocess.run([applets() / "sh", "-n"], input=FUNCTIONS, text=True, check=False)
    assert done.returncode == 0
    done = subprocess.run(
        [applets() / "sh", DIRECTORY / "agent.sh", "nonsense"],
        text=True,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "usage: agent.sh run|check|status|denials|metrics|serve|remove\n"


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@st.composite
def containments(draw: st.DrawFn) -> tuple[str, str]:
    """An address, and a CIDR (or an address alone) that often contains it."""
    address = draw(addresses)
    near = draw(st.booleans())
    base = address if near else draw(addresses)
    length = draw(st.integers(0, base.max_prefixlen))
    network = ipaddress.ip_network(
        (int(base), length) if base.version == 4 else (base, length), False
    )
    return str(address), str(network) if draw(st.booleans()) else str(network.network_address)


@settings(max_examples=25, deadline=None)
@given(st.lists(containments(), min_size=1, max_size=20))
def test_contained(pairs: list[tuple[str, str]]) -> None:
    code = "".join(f"contained {address} {cidr} || echo no\n" for address, cidr in pairs)
    expected = [
        cidr if ipaddress.ip_address(address) in ipaddress.ip_network(cidr) else "no"
        for address, cidr in pairs
    ]
    assert run(code).splitlines() == expected


def test_contained_finds_the_first_cidr() -> None:
    code = "first_contained '192.0.2.1 10.0.0.1 fd00::1' '10.1.0.0/16 fd00::/8 10.0.0.0/8'"
    assert run(code) == "10.0.0.0/8\n"
    assert (
        run("contained FD00::A fd00::/124; contained 10.0.0.1 || echo none") == "fd00::/124\nnone\n"
    )


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 65535),
    st.lists(st.tuples(st.integers(1, 65535), st.integers(1, 65535)), max_size=4),
)
def test_in_ranges(port: int, ends: list[tuple[int, int]]) -> None:
    ranges = [(min(pair), max(pair)) for pair in ends] + [(port + 1, port + 2)]
    words = " ".join(f"{low}-{high}" for low, high in ranges)
    expected = any(low <= port <= high for low, high in ranges)
    assert run(f"in_ranges {port} {words} && echo yes || echo no") == (
        "yes\n" if expected else "no\n"
    )


# What iproute2 prints, less a few words at the ends of its lines. It joins the lines of one device.
LINKS = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0  allmulti 0
3: flannel.1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN group default
    link/ether 02:19:01:00:01:00 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68
    vxlan id 1 local 172.19.1.100 dev eth0 srcport 0 0 dstport 8472 nolearning ttl auto ageing 300
4: vx6: <BROADCAST,MULTICAST> mtu 1500 qdisc noop master vxlan state DOWN group default
    link/ether da:a7:af:81:6e:f5 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68
    vxlan external id 0 srcport 0 0 dstport 4789 nolearning ttl auto ageing 300 udpcsum
    bridge_slave state disabled priority 32 cost 100 addrgenmode eui64 numtxqueues 1
5: vxlan: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN mode DEFAULT group default
    link/ether c2:15:ff:df:da:aa brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68
    bridge forward_delay 1500 hello_time 200 max_age 2000 addrgenmode eui64 numtxqueues 1
6: veth0@if2: <BROADCAST,MULTICAST> mtu 1500 qdisc noop master vxlan state DOWN
    link/ether c2:15:ff:df:da:ab brd ff:ff:ff:ff:ff:ff link-netnsid 0 promiscuity 1  allmulti 1
    veth
    bridge_slave state disabled priority 32 addrgenmode eui64
7: genev0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN group default
    link/ether 52:0d:3c:ba:5d:34 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68
    geneve id 10 remote 10.0.0.1 ttl auto dstport 6081 noudpcsum udp6zerocsumrx addrgenmode eui64
8: flannel-wg: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1420 qdisc noqueue state UNKNOWN group default
    link/none  promiscuity 0  allmulti 0 minmtu 0 maxmtu 2147483552
    wireguard addrgenmode none numtxqueues 1
9: macv0@eth0: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN mode DEFAULT group default
    link/ether 6e:5c:8a:b7:b0:68 brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68
    macvlan mode bridge bcqueuelen 1000 addrgenmode eui64
""".replace("\n    ", "\\    ")


@pytest.fixture
def fake_ip(tmp_path: Path) -> Iterator[Path]:
    """A directory with an `ip` that says what is in the file `answer` beside it."""
    program = tmp_path / "ip"
    program.write_text(
        '#!/bin/sh\n[ "$1" != -V ] || { echo "ip utility, iproute2-6.9.0"; exit; }\n'
        f"while IFS= read -r line; do printf '%s\\n' \"$line\"; done <{tmp_path}/answer\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    yield tmp_path


def test_overlays(fake_ip: Path) -> None:
    (fake_ip / "answer").write_text(LINKS, encoding="utf-8")
    assert run("overlays", path=str(fake_ip)).splitlines() == [
        "flannel.1 vxlan 8472 172.19.1.100",
        "vx6 vxlan 4789 ",
        "genev0 geneve 6081 ",
        "flannel-wg wireguard 51820 ",
    ]


def test_addresses(fake_ip: Path) -> None:
    (fake_ip / "answer").write_text(
        "2: eth0    inet 172.19.1.100/24 brd 172.19.1.255 scope global eth0\\  valid_lft forever\n"
        "2: eth0    inet6 fd00:172:19:1::100/64 scope global nodad \\    valid_lft forever\n",
        encoding="utf-8",
    )
    expected = ["172.19.1.100", "fd00:172:19:1::100"]
    assert run("addresses eth0", path=str(fake_ip)).splitlines() == expected


FACTS = """version 1.2.3
mode enforce
nodeCIDRs 10.0.0.0/1 10.0.0.0/16
podCIDRs
ports egress 10.0.0.0/1 53-53 123-123
ports egress 10.0.0.0/16 8472-8472
ports ingress fd00::/8
ports ingress fd00::/80 53-53
"""


def test_facts_are_found_by_their_whole_key(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "policy.facts").write_text(FACTS, encoding="utf-8")

    def fact(key: str) -> str:
        return run(f"STATE={tmp_path}; fact '{key}'")

    assert fact("mode") == "enforce\n"
    assert fact("nodeCIDRs") == "10.0.0.0/1 10.0.0.0/16\n"
    assert fact("podCIDRs") == "\n"
    assert fact("ports egress 10.0.0.0/1") == "53-53 123-123\n"
    assert fact("ports ingress fd00::/8") == "\n"
    assert fact("denyAction") == fact("ver") == fact("ports egress 10.0.0.0/8") == ""


def test_generations_replace_the_number_in_names_only(tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    policy.mkdir()
    (policy / "policy.facts").write_text("cache 24 85 ff000000 on\n", encoding="utf-8")
    (policy / "policy.nft").write_text(
        "# g0: the g0 generation\ncounter r.g0 { }\n"
        "chain g0.r.g0 { counter name r.g0; jump g0.x-g0; @g0.r.g0.from4\n"
        "ct mark set ct mark and 0x00ffffff or 0x02000000 accept\n"
        "# hooks: here\nct mark and 0xff000000 == 0x01000000 accept # trusted\n"
        "add rule input jump g0.input\n",
        encoding="utf-8",
    )
    # Generation 97 has slot 12, whose values begin with 3 * 12 + 1.
    assert run(f"STATE={tmp_path}; generation 97 before") == (
        "# g0: the g0 generation\ncounter r.g0 { }\n"
        "chain g97.r.g0 { counter name r.g0; jump g97.x-g0; @g97.r.g0.from4\n"
        "ct mark set ct mark and 0x00ffffff or 0x26000000 accept\n"
    )
    hooks = run(f"STATE={tmp_path}; generation 97 trusting").splitlines()
    assert hooks == [
        "# hooks: here",
        "ct mark and 0xff000000 == 0x25000000 accept # trusted",
        "add rule input jump g97.input",
    ]
    assert run(f"STATE={tmp_path}; generation 97 judging").splitlines() == [hooks[0], hooks[2]]


# A variable can hold anything but NUL.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


def plain(text: str) -> str:
    return "".join(" " if ord(character) < 32 else character for character in text)


@settings(max_examples=40, deadline=None)
@given(texts)
def test_json_strings(text: str) -> None:
    out = run('printf %s "$TEXT" | json_string', environment={"TEXT": text})
    assert json.loads(out) == (plain(text).rstrip(" ") or None)


@settings(max_examples=40, deadline=None)
@given(texts, texts)
def test_log_lines_stay_lines(node: str, message: str) -> None:
    environment = {"UDP_SECURITY_NODE_NAME": node, "TEXT": message}
    out = run('log warn something "$TEXT"', environment=environment)
    assert re.fullmatch(
        r'time=\S+ level=warn event=something node="[^"\x00-\x1f]*" policy= msg="[^"\x00-\x1f]*"\n',
        out,
    )
    assert out.endswith(
        f' msg="{plain(message)}"\n'.replace('"', "'").replace(" msg='", ' msg="')[:-2] + '"\n'
    )


def test_a_pause_ends_with_sigterm_whenever_it_comes() -> None:
    """Also just before the shell starts to wait: that hits one of a hundred rounds."""
    seed = random.Random(0)
    for _ in range(300):
        process = start("echo ready; pause 5; exit 0", "run")
        assert process.stdout and process.stdout.readline() == "ready\n"
        time.sleep(seed.random() / 500)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=3) == 0
        process.stdout.close()
