# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What a benchmark found: costs of packets, other measured facts, and notes."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

from udp_security.bench.compare import Cost
from udp_security.lab import tools


@dataclass(frozen=True)
class PacketCost:
    """One variant's cost on one route under one policy. ``entries`` places it in the plot; None:
    not there."""

    route: str
    policy: str
    entries: int | None
    cost: Cost


@dataclass(frozen=True)
class Fact:
    """One measured number, in its unit, with the target it should reach, if there is one.
    ``spread`` says what else was seen."""

    name: str
    value: float
    unit: str
    spread: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def target(self) -> str:
        """The target as text."""
        if self.most is not None:
            return f"<= {self.most:,}"
        return "" if self.least is None else f">= {self.least:,}"

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.most is not None:
            return self.value <= self.most
        return None if self.least is None else self.value >= self.least


@dataclass
class Results:
    """Everything that a run found, on which machine."""

    machine: dict[str, str]
    costs: list[PacketCost] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def describe_machine() -> dict[str, str]:
    """Processor, kernel and tools."""
    processor = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            processor = line.partition(":")[2].strip()
            break
    iptables = tools.run(["iptables-nft", "--version"], check=False).stdout.strip()
    return {
        "processor": f"{processor}, {os.cpu_count()} processors",
        "kernel": f"{platform.release()} ({platform.machine()})",
        "nft": tools.run(["nft", "--version"]).stdout.strip(),
        "iptables": iptables or "none",
        "load before": f"{os.getloadavg()[0]:.1f}",
    }
