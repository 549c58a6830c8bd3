# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Swaps under load: no allowed packet may be lost, no denied one may pass."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path
from types import TracebackType
from typing import Final

from udp_security.bench import agent, policies
from udp_security.bench.results import Fact, Results
from udp_security.bench.source import Burst, Source
from udp_security.bench.steps import Steps
from udp_security.bench.track import DENIED_PORT, INPUT, Track
from udp_security.lab.errors import LabError

_BURST: Final = 0.2
_CHUNK: Final = 10
_PATIENCE: Final = 300.0
_SCRIPT: Final = "/run/udp-security/policy/agent.sh"
# The agent's own code, without the agent's rests: it calls nothing but what a heal calls. $0 is the
# pod's copy of its script, $1 a command that leaves the functions defined. What the agent remembers
# of its quarantine goes as the kernel's set does.
_SWAP: Final = f""". "$0"
rm -f "$STATE/quarantine"
for _number in $(seq {_CHUNK}); do apply healed || exit 1; done
"""


def measure(results: Results, steps: Steps, *, size: int, times: int) -> None:
    """The agent's way to heal, again and again (in tens): each time it swaps the whole policy."""
    with steps.step("swaps: render"):
        values = policies.entries(size, ("ingress",))
        facts = policies.files(values)["policy.facts"]
        (mask,) = re.findall(r"(?m)^cache \d+ \d+ ([0-9a-f]+)", facts)
        quarantine = f"cache.{mask}"
    with (
        Track() as track,
        agent.running(track, values) as pod,
        track.source(INPUT) as allowed,
        track.source(INPUT, port=DENIED_PORT) as denied,
        steps.step(f"swaps: {times:,} of {size:,} entries", times // _CHUNK) as advance,
    ):
        before, cached = agent.generation(track), 0
        arrived, leaked, dropped = track.arrived(INPUT), track.leaked(INPUT), _dropped()
        # The watching agent would take each swap for somebody else's.
        pod.signal(signal.SIGSTOP)
        with Flow(allowed) as passing, Flow(denied, rest=3 * _BURST) as stopped:
            for _ in range(times // _CHUNK):
                # As if minutes had passed: the cache is in use all the time.
                track.nft(f"flush set inet udp_security {quarantine}\n")
                done = pod.run(["/bin/sh", "-c", _SWAP, _SCRIPT, "check"], timeout=_PATIENCE)
                if done.returncode != 0:
                    raise LabError(f"the agent cannot swap: {done.stdout}{done.stderr}")
                hooks = track.run("node", ["nft", "list", "chain", "inet", "udp_security", "input"])
                cached += "ct mark" in hooks.stdout
                advance()
        missing = passing.packets - (track.arrived(INPUT) - arrived)
        # A machine with too few processors for all this loses packets before any hook sees them.
        excused = min(missing, _dropped() - dropped)
        passed = track.leaked(INPUT) - leaked
        generations = f"generation {before} to {agent.generation(track)}"
        pod.signal(signal.SIGCONT)
    seen = (
        f"{generations}, cache in use after {cached} of {times // _CHUNK} tens; "
        f"{missing} did not arrive, {excused} of them lost in full queues of the machine"
    )
    rate = passing.packets / passing.elapsed
    what = f"in {times:,} swaps of {size:,} entries"
    results.facts += [
        Fact(f"allowed packets lost {what}", missing - excused, f"of {passing.packets:,}", seen, 0),
        Fact(f"denied packets passed {what}", passed, f"of {stopped.packets:,}", generations, 0),
        Fact("allowed packets a second meanwhile", rate, "/s", least=100_000),
    ]


class Flow(threading.Thread):
    """Context manager: a source sends until the block ends, in bursts with as many seconds of rest
    between them. Then ``packets`` and ``elapsed`` (in s) say how many in how long."""

    def __init__(self, source: Source, rest: float = 0.0) -> None:
        super().__init__(name="flow", daemon=True)
        self._source = source
        self._rest = rest
        self._stopping = threading.Event()
        self._bursts: list[Burst] = []
        self._error: Exception | None = None

    @property
    def packets(self) -> int:
        """Packets sent."""
        return sum(burst.packets for burst in self._bursts)

    @property
    def elapsed(self) -> float:
        """Seconds of sending."""
        return sum(burst.elapsed for burst in self._bursts)

    def run(self) -> None:
        """The thread's own."""
        try:
            while not self._stopping.is_set():
                self._bursts.append(self._source.burst(_BURST))
                self._stopping.wait(self._rest)
        except Exception as error:  # raised again in the caller
            self._error = error

    def __enter__(self) -> Flow:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self.join()
        if self._error is not None and error is None:
            raise self._error


def _dropped() -> int:
    """Packets that the machine's processors threw away because their queues were full."""
    lines = Path("/proc/net/softnet_stat").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1], 16) for line in lines)
