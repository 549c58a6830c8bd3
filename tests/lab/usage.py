# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What an agent's container costs the node: processes, processor time, memory, wake-ups."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Final

from udp_security.lab.pod import AgentPod

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def processes(pod: AgentPod) -> dict[int, int]:
    """Ids of the container's processes, which are in a PID namespace of their own, and of their
    parents."""
    namespace = os.readlink(f"/proc/{pod.pid}/ns/pid")
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(process / "ns" / "pid") == namespace:
                    found[int(process.name)] = int(_stat(int(process.name))[1])
    return found


def monitor(pod: AgentPod) -> tuple[int, int] | None:
    """The processes that watch for events: nft, and the awk that reads what it prints."""
    all_ = processes(pod)
    nft = [process for process in all_ if _command(process)[-2:] == ["nft", "monitor"]]
    # The agent's child waits for awk, and nobody else has a child that lasts.
    awk = [
        process
        for process, parent in all_.items()
        if parent != pod.pid and all_.get(parent) == pod.pid and "monitor" not in _command(process)
    ]
    return (nft[0], awk[0]) if len(nft) == len(awk) == 1 else None


def runs(pod: AgentPod, *command: str) -> bool:
    """Whether one of the container's processes is this command."""
    return any(_command(process) == list(command) for process in processes(pod))


def cpu(pod: AgentPod) -> float:
    """Seconds of processor time of all the container's processes so far, also of those that are
    gone."""
    # Whoever has no parent left becomes the first process's child, which collects the dead.
    return sum(sum(map(int, _stat(process)[11:15])) for process in processes(pod)) / _TICKS


def memory(pod: AgentPod) -> int:
    """Bytes of memory of all the container's processes; of shared pages a share (PSS)."""
    texts = [_read(process, "smaps_rollup") for process in processes(pod)]
    return sum(
        1024 * int(size) for text in texts for size in re.findall(r"^Pss: +(\d+)", text, re.M)
    )


def wakeups(pod: AgentPod) -> int:
    """How often the container's present processes have gone to sleep."""
    texts = [_read(process, "status") for process in processes(pod)]
    return sum(int(n) for text in texts for n in re.findall(r"^voluntary\S+\s+(\d+)", text, re.M))


def _stat(process: int) -> list[str]:
    """The fields behind the name: state, parent, ..."""
    return _read(process, "stat").rpartition(")")[2].split() or ["0"] * 50


def _command(process: int) -> list[str]:
    return _read(process, "cmdline").rstrip("\0").split("\0")


def _read(process: int, name: str) -> str:
    """Empty when the process is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/{name}").read_text(encoding="utf-8")
    return ""
