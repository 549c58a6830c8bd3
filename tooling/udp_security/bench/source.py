# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The packet source: flood.c, compiled when it is first needed, one process for each flow."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from udp_security.lab import tools
from udp_security.lab.errors import LabError
from udp_security.lab.netns import Namespace

PORT: Final = 7000
"""The destination port of every packet that a policy of the benchmark allows."""

Sources = Literal["fixed", "random"]
"""One address and port, or another one for every packet."""


@dataclass(frozen=True)
class Burst:
    """What a source did in a while. ``cost`` is the median of ns per packet, over small batches."""

    packets: int
    elapsed: float
    cost: float

    @property
    def rate(self) -> float:
        """Packets per second."""
        return self.packets / self.elapsed


def compiled(directory: Path) -> Path:
    """Compile the source into this directory. LabError without a C compiler."""
    compiler = next((c for c in ("cc", "gcc", "clang") if shutil.which(c, path=tools.SEARCH)), None)
    if compiler is None:
        raise LabError(
            "the benchmark needs a C compiler for its packet source, and there is none",
            "install one: sudo apt-get install gcc libc6-dev",
        )
    program = directory / "flood"
    tools.run([compiler, "-O2", "-o", str(program), str(Path(__file__).with_name("flood.c"))])
    return program


def processor() -> int:
    """The processor that sends: the last one we may use, as the first serves most interrupts."""
    return max(os.sched_getaffinity(0))


class Source:
    """A flow that sends only while ``burst`` is called."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, seconds: float) -> None:
        """Send for so long, without waiting for the end."""
        assert self._process.stdin is not None
        try:
            print(int(seconds * 1e9), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None

    def finish(self) -> Burst:
        """Wait for the end of what was started."""
        assert self._process.stdout is not None
        words = self._process.stdout.readline().split()
        if not words:
            raise self._ended()
        packets, elapsed, _, cost = words
        return Burst(int(packets), int(elapsed) / 1e9, float(cost))

    def burst(self, seconds: float) -> Burst:
        """Send for so long."""
        self.start(seconds)
        return self.finish()

    def _ended(self) -> LabError:
        self._process.wait()
        assert self._process.stderr is not None
        return LabError(f"the packet source ended: {self._process.stderr.read().strip()}")


@contextlib.contextmanager
def source(
    program: Path,
    namespace: Namespace,
    address: str,
    *,
    port: int = PORT,
    sources: Sources = "fixed",
) -> Iterator[Source]:
    """A source in a namespace, for as long as the block runs."""
    process = subprocess.Popen(
        [
            *(tools.find("nsenter"), f"--net={namespace.path}", "--"),
            *(tools.find("setpriv"), "--pdeathsig", "KILL", "--"),
            *(str(program), str(processor()), sources, address, str(port)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield Source(process)
        finally:
            process.kill()
