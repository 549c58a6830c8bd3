# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The Linux system calls the lab needs and Python 3.10 lacks, through libc, with OSError on
failure."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from typing import Any, Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

PR_SET_PDEATHSIG: Final = 1
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4

_CAPABILITY_VERSION_3: Final = 0x20080522
_SYS_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}

_libc = ctypes.CDLL(None, use_errno=True)


def _call(what: str, function: Any, *arguments: Any) -> int:
    result = int(function(*arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def unshare(flags: int) -> None:
    """Move the calling thread into new namespaces (``CLONE_NEW*``)."""
    _call("unshare", _libc.unshare, ctypes.c_int(flags))


def setns(*targets: tuple[str, int]) -> None:
    """Move the calling thread into these namespaces, in this order: (path, its CLONE_NEW flag).

    All are opened first, for a path may mean nothing in the mount namespace entered before it.
    """
    descriptors = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path, _ in targets]
    try:
        for descriptor, (path, kind) in zip(descriptors, targets, strict=True):
            _call(f"setns {path}", _libc.setns, ctypes.c_int(descriptor), ctypes.c_int(kind))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    _call(
        f"mount {source} on {target}",
        _libc.mount,
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )


def umount(target: str, flags: int = MNT_DETACH) -> None:
    """umount2(2), lazily unless told otherwise."""
    _call(f"umount {target}", _libc.umount2, target.encode(), ctypes.c_int(flags))


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Show ``source`` at ``target`` as well."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        remount_read_only(target)


def remount_read_only(target: str) -> None:
    """Make one mount read-only, keeping its other flags: in a user namespace they are locked."""
    # statvfs shares the values of the first four MS_ flags and of the atime flags below.
    st_noatime, st_nodiratime, st_relatime = 1024, 2048, 4096
    ms_noatime, ms_nodiratime, ms_relatime = 1024, 2048, 1 << 21
    have = os.statvfs(target).f_flag
    flags = have & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for ours, theirs in (
        (ms_noatime, st_noatime),
        (ms_nodiratime, st_nodiratime),
        (ms_relatime, st_relatime),
    ):
        if have & theirs:
            flags |= ours
    mount("none", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | flags)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2); libc has no wrapper."""
    machine = os.uname().machine
    if machine not in _SYS_PIVOT_ROOT:
        raise OSError(f"pivot_root: system call number of {machine} unknown")
    _call(
        f"pivot_root {new_root}",
        _libc.syscall,
        ctypes.c_long(_SYS_PIVOT_ROOT[machine]),
        new_root.encode(),
        put_old.encode(),
    )


def sethostname(name: str) -> None:
    """sethostname(2)."""
    _call("sethostname", _libc.sethostname, name.encode(), ctypes.c_size_t(len(name.encode())))


def prctl(option: int, argument: int = 0, second: int = 0) -> int:
    """prctl(2) with up to two numbers."""
    return _call(
        f"prctl {option}",
        _libc.prctl,
        ctypes.c_int(option),
        ctypes.c_ulong(argument),
        ctypes.c_ulong(second),
        ctypes.c_ulong(0),
        ctypes.c_ulong(0),
    )


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends."""
    prctl(PR_SET_PDEATHSIG, 9)


def loopback_up() -> None:
    """Bring ``lo`` up in the calling thread's network namespace."""
    set_interface_flags, up = 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_interface_flags, struct.pack("16sH14x", b"lo", up))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def drop_bounding(keep: Iterable[int]) -> None:
    """Take every capability but these out of what any later exec can gain."""
    for number in range(64):
        if number not in set(keep):
            try:
                prctl(PR_CAPBSET_DROP, number)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                break  # past the kernel's last capability


def set_capabilities(numbers: Iterable[int]) -> None:
    """Have exactly these capabilities, effective and permitted; inheritable and ambient none."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    for number in numbers:
        data[number // 32].effective |= 1 << (number % 32)
        data[number // 32].permitted |= 1 << (number % 32)
    _call("capset", _libc.capset, ctypes.byref(header), ctypes.byref(data))
