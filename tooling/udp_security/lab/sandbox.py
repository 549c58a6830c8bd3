# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Put this process where it cannot harm the machine: namespaces of its own, before any lab exists.

``enter`` unshares the network and mount namespaces (and, without root, a user namespace in which
the process is root), makes mounts private and covers /run with an empty tmpfs, so named namespaces,
locks and the lab's files are seen by nobody else and vanish with the process.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from udp_security.lab import syscalls
from udp_security.lab.errors import LabError

STATE: Final = Path("/run/udp-security-lab")
NETNS: Final = Path("/run/netns")

_entered = False


def enter() -> None:
    """Isolate the calling process, once; later calls, and calls of forked children, do nothing.

    Must run in the main thread; without root also before any other thread is started, because the
    kernel gives a user namespace to single-threaded processes only. LabError when the kernel
    refuses.
    """
    global _entered  # noqa: PLW0603 - a process has one set of namespaces
    if _entered:
        return
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 or not _unshare_as_root():
        _unshare_with_user_namespace(uid, gid)
    try:
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.mount("tmpfs", "/run", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755")
        syscalls.loopback_up()
    except OSError as error:
        raise _refused(error) from error
    NETNS.mkdir(mode=0o755)
    STATE.mkdir(mode=0o755)
    _entered = True


def entered() -> bool:
    """Whether this process (or the one it was forked from) is isolated."""
    return _entered


def rootless() -> bool:
    """Whether root here is only root of a user namespace, with a single user mapped."""
    return Path("/proc/self/uid_map").read_text(encoding="ascii").split()[2:] == ["1"]


def _unshare_as_root() -> bool:
    """False: root without the capability (an unprivileged container); a user namespace may do."""
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS)
    except OSError as error:
        if error.errno == errno.EPERM:
            return False
        raise _refused(error) from error
    return True


def _unshare_with_user_namespace(uid: int, gid: int) -> None:
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise LabError(
                "without root the lab must start before the process has other threads",
                "run it in a process of its own, for pytest without -n, or as root (sudo)",
            ) from error
        raise _refused(error) from error
    try:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1", encoding="ascii")
        # Ubuntu lets the namespace be made and then denies every right in it: seen here.
        syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS)
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> LabError:
    knobs = (
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "1"),
        ("/proc/sys/user/max_user_namespaces", "0", "15000"),
    )
    for path, bad, good in knobs:
        try:
            value = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if value == bad:
            name = path.removeprefix("/proc/sys/").replace("/", ".")
            return LabError(
                f"the kernel forbids namespaces for this user ({name} = {value})",
                f"run as root (sudo), or allow it: sudo sysctl -w {name}={good}",
            )
    return LabError(
        f"the kernel does not let this process make namespaces ({error.strerror or error})",
        "run as root (sudo); in a container start that with --privileged",
    )
