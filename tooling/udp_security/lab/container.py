# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A small container runtime: `python -m udp_security.lab.container run|exec SPEC STATUS-FD`.

A process of its own, because it gives its namespaces and rights away. SPEC is JSON (``RunSpec`` or
``ExecSpec``). Through STATUS-FD it writes lines, `pid N` and `error TEXT`; the end of file without
an error means that the process runs. It exits as that process did, 128 + n for signal n.

`run` makes what a kubelet's runtime makes: mount, PID, IPC and UTS namespaces (the network is the
node's: hostNetwork), a root from read-only files, /proc, /sys and /dev of its own, then only the
capabilities given. Seccomp and cgroup limits are not imitated.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import NoReturn, TypedDict

from udp_security.lab import syscalls

_DEVICES = ("null", "zero", "full", "random", "urandom")
# What container runtimes show read-only of /proc.
_PROC_READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")


class Mount(TypedDict):
    """A directory or file shown inside; the target's parents are made."""

    source: str
    target: str
    read_only: bool


class Root(TypedDict):
    """The container's root: ``files`` holds usr/ and etc/, ``point`` is an empty directory to mount
    on."""

    network: str
    hostname: str
    files: str
    point: str
    read_only: bool
    mounts: list[Mount]


class Process(TypedDict):
    """What to start and with which rights."""

    argv: list[str]
    environment: dict[str, str]
    uid: int
    gid: int
    capabilities: list[int]
    no_new_privileges: bool


class RunSpec(TypedDict):
    """SPEC of `run`."""

    root: Root
    process: Process


class ExecSpec(TypedDict):
    """SPEC of `exec`."""

    pid: int
    process: Process


def run(spec: RunSpec, status: int) -> int:
    """Start a container and wait for its end. Returns the exit code to give."""
    syscalls.setns((spec["root"]["network"], syscalls.CLONE_NEWNET))
    syscalls.unshare(
        syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
    )
    syscalls.sethostname(spec["root"]["hostname"])
    child = os.fork()
    if child == 0:
        _child(status, spec["process"], spec["root"])
    os.write(status, f"pid {child}\n".encode())
    os.close(status)
    return _wait(child)


def execute(spec: ExecSpec, status: int) -> int:
    """Start a process beside a container's and wait for its end. Returns the exit code to give."""
    where = f"/proc/{spec['pid']}/ns"
    syscalls.setns(
        (f"{where}/ipc", syscalls.CLONE_NEWIPC),
        (f"{where}/uts", syscalls.CLONE_NEWUTS),
        (f"{where}/net", syscalls.CLONE_NEWNET),
        (f"{where}/pid", syscalls.CLONE_NEWPID),
        (f"{where}/mnt", syscalls.CLONE_NEWNS),
    )
    child = os.fork()
    if child == 0:
        _child(status, spec["process"], None)
    os.write(status, f"pid {child}\n".encode())
    os.close(status)
    return _wait(child)


def _child(status: int, process: Process, root: Root | None) -> NoReturn:
    """Become the container's process; an error goes to the parent's parent as text."""
    try:
        if root is not None:
            _enter_root(root)
        _become(process)
    except Exception as error:  # the files of this interpreter are gone: no traceback can be made
        os.write(status, f"error {error}\n".encode())
    os._exit(127)


def _become(process: Process) -> NoReturn:
    # The interpreter ignores these; a container's process starts with the defaults.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    os.chdir("/")
    syscalls.drop_bounding(process["capabilities"])
    if process["uid"] or process["gid"]:
        os.setgroups([])
        os.setresgid(*[process["gid"]] * 3)
        os.setresuid(*[process["uid"]] * 3)
    # A user other than root keeps no capability across exec, whatever the set allows.
    syscalls.set_capabilities(process["capabilities"] if not process["uid"] else ())
    if process["no_new_privileges"]:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    syscalls.die_with_parent()
    environment = process["environment"]
    program = process["argv"][0]
    if "/" not in program:
        program = shutil.which(program, path=environment.get("PATH", "")) or program
    os.execve(program, process["argv"], environment)


def _enter_root(root: Root) -> None:
    point = root["point"]
    syscalls.mount("tmpfs", point, "tmpfs", 0, "mode=755")
    files, new = Path(root["files"]), Path(point)
    for name in ("usr", "proc", "sys", "dev", "run", "root", "var", "tmp"):
        (new / name).mkdir(mode=0o755)
    syscalls.bind(str(files / "usr"), str(new / "usr"), read_only=root["read_only"])
    for name in ("bin", "sbin", "lib", "lib64"):
        if (files / "usr" / name).is_dir():
            (new / name).symlink_to(f"usr/{name}")
    shutil.copytree(files / "etc", new / "etc")
    _mount_kernel_files(new)
    for mount in root["mounts"]:
        target = new / mount["target"].lstrip("/")
        if Path(mount["source"]).is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        syscalls.bind(mount["source"], str(target), read_only=mount["read_only"])
    os.chdir(point)
    syscalls.pivot_root(".", ".")
    syscalls.umount(".")
    os.chdir("/")
    if root["read_only"]:
        syscalls.remount_read_only("/")


def _mount_kernel_files(new: Path) -> None:
    hardened = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    syscalls.mount("proc", str(new / "proc"), "proc", hardened)
    for name in _PROC_READ_ONLY:
        if (new / "proc" / name).exists():
            syscalls.bind(str(new / "proc" / name), str(new / "proc" / name), read_only=True)
    syscalls.mount("sysfs", str(new / "sys"), "sysfs", hardened | syscalls.MS_RDONLY)
    devices = new / "dev"
    syscalls.mount("tmpfs", str(devices), "tmpfs", syscalls.MS_NOSUID, "mode=755")
    for name in _DEVICES:  # bound, for a user namespace may not make device nodes
        (devices / name).touch()
        syscalls.bind(f"/dev/{name}", str(devices / name))
    (devices / "fd").symlink_to("/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (devices / name).symlink_to(f"/proc/self/fd/{number}")
    (devices / "shm").mkdir()
    syscalls.mount("tmpfs", str(devices / "shm"), "tmpfs", hardened, "mode=1777")


def _wait(child: int) -> int:
    _, state = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(state)
    return code if code >= 0 else 128 - code


def main() -> int:
    """Read the command line, do it, return the exit code."""
    syscalls.die_with_parent()
    mode, spec, status = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
    os.set_inheritable(status, False)
    try:
        return run(spec, status) if mode == "run" else execute(spec, status)
    except OSError as error:
        os.write(status, f"error {error}\n".encode())
        return 127


if __name__ == "__main__":
    sys.exit(main())
