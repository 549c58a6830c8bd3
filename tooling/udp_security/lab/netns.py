# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Named network namespaces: make them, run commands in them, open sockets in them.

A namespace is a file below /run/netns, so `ip -n NAME ...` works too. Call ``sandbox.enter`` first.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

from udp_security.lab import sandbox, syscalls, tools
from udp_security.lab.errors import LabError

T = TypeVar("T")


class Namespace:
    """One network namespace with ``lo`` up. Sockets opened in it outlive ``delete``."""

    def __init__(self, name: str) -> None:
        """Make it. LabError outside the sandbox or when the name is taken."""
        if not sandbox.entered():
            raise LabError("namespaces are only made inside the sandbox", "call sandbox.enter()")
        self.name = name
        self.path = sandbox.NETNS / name
        try:
            self.path.touch(mode=0o444, exist_ok=False)
        except FileExistsError as error:
            raise LabError(f"namespace {name} exists already") from error

        def make() -> None:
            syscalls.unshare(syscalls.CLONE_NEWNET)
            syscalls.loopback_up()
            syscalls.mount("/proc/thread-self/ns/net", str(self.path), flags=syscalls.MS_BIND)

        try:
            _in_thread(make)
        except OSError as error:
            self.path.unlink()
            raise LabError(f"cannot make namespace {name}: {error}") from error

    def delete(self) -> None:
        """Take the name away; the kernel frees the namespace when its last socket is closed."""
        if self.path.exists():
            with contextlib.suppress(OSError):
                syscalls.umount(str(self.path))
            self.path.unlink()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function with the namespace as its thread's own; exceptions come through."""

        def inside() -> T:
            syscalls.setns((str(self.path), syscalls.CLONE_NEWNET))
            return function()

        return _in_thread(inside)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that lives in this namespace, whoever uses it."""
        return self.call(lambda: socket.socket(family, kind, protocol))

    def sysctl(self, values: Mapping[str, int | str]) -> None:
        """Write settings, names with slashes (``net/ipv4/ip_forward``). LabError names the first
        that cannot be written."""

        def write() -> None:
            for name, value in values.items():
                try:
                    Path("/proc/sys", name).write_text(str(value), encoding="ascii")
                except OSError as error:
                    raise LabError(
                        f"cannot set {name} in namespace {self.name}: {error}"
                    ) from error

        self.call(write)

    def read_sysctl(self, name: str) -> str:
        """One setting's value, without the newline."""
        return self.call(lambda: Path("/proc/sys", name).read_text(encoding="ascii").strip())

    def ip(self, *lines: str) -> None:
        """Run `ip -batch` lines in the namespace. LabError with the failing line."""
        tools.run(["ip", "-n", self.name, "-batch", "-"], stdin="\n".join(lines) + "\n")

    def run(
        self, command: Sequence[str], *, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a tool in the namespace to its end. LabError when it fails, unless ``check`` is
        False."""
        return tools.run(self._enter(command), stdin=stdin, check=check)

    def start(self, command: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a tool that stays; it is killed when the calling thread ends. A session of its own
        keeps the terminal's Ctrl-C away from it: whoever started it stops it."""
        entered = self._enter(["setpriv", "--pdeathsig", "KILL", tools.find(command[0])])
        return subprocess.Popen(
            [tools.find(entered[0]), *entered[1:], *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=tools.environment(),
            start_new_session=True,
        )

    def flush_conntrack(self) -> None:
        """Forget every tracked connection here (what `conntrack -F` sends)."""
        delete, request, acknowledge = (1 << 8) | 2, 1, 4
        message = struct.pack("=IHHIIBBH", 20, delete, request | acknowledge, 1, 0, 0, 0, 0)
        netfilter = 12
        with self.socket(socket.AF_NETLINK, socket.SOCK_RAW, netfilter) as channel:
            channel.send(message)
            (error,) = struct.unpack_from("=i", channel.recv(4096), 16)
        if error:
            raise LabError(f"cannot flush conntrack in namespace {self.name}: error {-error}")

    def _enter(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--net={self.path}", "--", tools.find(command[0]), *command[1:]]


def _in_thread(function: Callable[[], T]) -> T:
    """Run a function in a thread of its own: namespaces belong to threads, and this one ends."""
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(function())
        except BaseException as error:  # raised again in the caller
            errors.append(error)

    thread = threading.Thread(target=body, name="udp-security-lab")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
