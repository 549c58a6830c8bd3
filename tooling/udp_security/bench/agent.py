# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the agent costs and how fast it is: in force, healed, at rest, in a storm."""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from udp_security.bench import policies
from udp_security.bench.results import Fact, Results
from udp_security.bench.steps import Steps
from udp_security.bench.track import Track
from udp_security.lab.errors import LabError
from udp_security.lab.pod import AgentPod

SMALL: Final = 10
_DIRECTIONS: Final = ("ingress",)
_TABLE: Final = "inet udp_security"
_HOOK: Final = re.compile(r"jump g(\d+)\.input")
_PATIENCE: Final = 60.0
# After a heal the agent rests for up to a second, so that a fight costs little.
_BREATH: Final = 2.0
_STORM_RATE: Final = 5000  # rules a second

_DAMAGE: Final[Mapping[str, str]] = {
    "table deleted": f"delete table {_TABLE}",
    "rules deleted": f"flush chain {_TABLE} input",
    "flush ruleset": "flush ruleset",
}


def measure(results: Results, steps: Steps, *, size: int, times: int, seconds: float) -> None:
    """All of the agent's numbers, with a small policy and with one of this size."""
    with steps.step("agent: render"):
        sizes = {
            f"{count:,} entries": policies.entries(count, _DIRECTIONS) for count in (SMALL, size)
        }
        for values in sizes.values():
            policies.documents(values)
    *_, (name, large) = sizes.items()
    results.facts += _in_force(steps, large, name, times=max(1, times // 5))
    for name, values in sizes.items():
        with Track() as track, running(track, values) as pod:
            results.facts += _rest(steps, track, pod, name, seconds, targets=values is not large)
            results.facts += _storm(steps, track, pod, name, seconds / 3)
            results.facts += _heal(steps, track, pod, name, times, breath=min(_BREATH, seconds))


@contextlib.contextmanager
def running(track: Track, values: Mapping[str, Any]) -> Iterator[AgentPod]:
    """An agent on the node, its policy in force."""
    pod = AgentPod(track, "node", policies.documents(values))
    with pod:
        pod.wait_ready(_PATIENCE)
        yield pod


def generation(track: Track) -> int | None:
    """The generation that the input hook leads to; None while it leads nowhere."""
    listing = track.run("node", ["nft", "list", "chain", *_TABLE.split(), "input"], check=False)
    found = _HOOK.search(listing.stdout)
    return int(found[1]) if found else None


def until_in_force(track: Track, pod: AgentPod, before: int | None = None) -> float:
    """Seconds until the hooks lead to a generation other than this one, to a few ms."""
    return _until(pod, lambda: generation(track) not in (before, None))


def heals(pod: AgentPod) -> int:
    """How often the agent says it has healed."""
    return pod.logs().count(" event=healed ")


def until_healed(pod: AgentPod, before: int) -> float:
    """Seconds until the agent says that it has healed more often than this. From then on another
    damage is another heal."""
    return _until(pod, lambda: heals(pod) > before)


def _until(pod: AgentPod, condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > _PATIENCE:
            raise LabError(f"the agent does not get on: {pod.logs().strip()}")
        time.sleep(0.002)
    return time.monotonic() - began


def _in_force(steps: Steps, values: Mapping[str, Any], name: str, *, times: int) -> list[Fact]:
    """From the start of the new pod's process to the transaction that points the hooks to its
    policy; on a node without rules, and on one where an older pod is in charge."""
    first, next_ = [], []
    with steps.step(f"agent: in force, {name}", times) as advance:
        for _ in range(times):
            with Track() as track:
                pod = AgentPod(track, "node", policies.documents(values))
                with pod:
                    first.append(until_in_force(track, pod))
            with Track() as track, running(track, policies.entries(SMALL, _DIRECTIONS)):
                before = generation(track)
                pod = AgentPod(track, "node", policies.documents(values))
                with pod:
                    next_.append(until_in_force(track, pod, before))
            advance()
    return [
        _seconds(f"in force, {name}, first start", first, most=0.3),
        _seconds(f"in force, {name}, after an older pod", next_, most=0.3),
    ]


def _heal(
    steps: Steps, track: Track, pod: AgentPod, name: str, times: int, breath: float
) -> list[Fact]:
    facts = []
    for damage, command in _DAMAGE.items():
        taken = []
        with steps.step(f"agent: heal, {name}, {damage}", times) as advance:
            for _ in range(times):
                time.sleep(breath)
                before = heals(pod)
                track.nft(command + "\n")
                taken.append(until_in_force(track, pod))
                until_healed(pod, before)
                advance()
        longest = Fact(f"heal, {name}, {damage}: longest", max(taken), "s", f"of {times}", most=1.0)
        facts += [_seconds(f"heal, {name}, {damage}: median", taken, most=0.2), longest]
    return facts


def _seconds(name: str, taken: list[float], most: float) -> Fact:
    spread = f"{min(taken):.3f} - {max(taken):.3f} s, {len(taken)} times"
    return Fact(name, statistics.median(taken), "s", spread, most=most)


def _rest(
    steps: Steps, track: Track, pod: AgentPod, name: str, seconds: float, *, targets: bool
) -> list[Fact]:
    with steps.step(f"agent: {seconds:g} s at rest, {name}"):
        time.sleep(min(_BREATH, seconds))
        before = _cpu(pod.pid)
        time.sleep(seconds)
        rest = _cpu(pod.pid) - before
    running_now = processes(pod.pid)
    held = memory(running_now)
    who = ", ".join(f"{_command(one)} {memory([one]).pss:.1f}" for one in running_now)
    ten = 10 if targets else None
    return [
        Fact(f"CPU at rest, {name}", 1000 * rest, f"ms in {seconds:g} s", most=ten),
        Fact(f"memory at rest (PSS), {name}", held.pss, "MiB", who, most=ten),
        Fact(f"memory at rest (RSS), {name}", held.rss, "MiB"),
        Fact(f"memory at rest (anonymous), {name}", held.own, "MiB"),
    ]


def _storm(steps: Steps, track: Track, pod: AgentPod, name: str, seconds: float) -> list[Fact]:
    with steps.step(f"agent: a storm of foreign rules, {name}"):
        before = _cpu(pod.pid)
        began = time.monotonic()
        rate = _change(track, seconds)
        share = (_cpu(pod.pid) - before) / (time.monotonic() - began)
    held = memory(processes(pod.pid))
    return [
        Fact(
            f"CPU in a storm, {name}", 100 * share, "% of a core", f"{rate:,.0f} rules/s", most=25
        ),
        Fact(f"memory after the storm (PSS), {name}", held.pss, "MiB"),
    ]


def _change(track: Track, seconds: float) -> float:
    """Another table's rules come and go; returns how many a second came."""
    batch = _STORM_RATE // 10
    rules = "".join(
        f"add rule ip storm rules ip daddr 11.0.{i >> 8}.{i & 255} drop\n" for i in range(batch)
    )
    text = f"add table ip storm\nadd chain ip storm rules\nflush chain ip storm rules\n{rules}"
    began = time.monotonic()
    made = 0
    while (now := time.monotonic()) - began < seconds:
        if made <= _STORM_RATE * (now - began):
            track.nft(text)
            made += batch
        else:
            time.sleep(0.005)
    track.nft("delete table ip storm\n")
    return made / (time.monotonic() - began)


def processes(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


@dataclass(frozen=True)
class Memory:
    """MiB of processes: PSS, RSS, and what no file backs, which nobody can share."""

    pss: float
    rss: float
    own: float


def memory(pids: Iterable[int]) -> Memory:
    """Of these processes together."""
    sums = dict.fromkeys(("Pss", "Rss", "Pss_Anon"), 0)
    for pid in pids:
        with contextlib.suppress(OSError):  # it has just ended
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            for name, size in re.findall(r"(?m)^(\w+): +(\d+) kB", text):
                if name in sums:
                    sums[name] += int(size)
    return Memory(*(size / 1024 for size in sums.values()))


def _cpu(pid: int) -> float:
    """Seconds of CPU so far of a process and all that descend from it, ended ones included."""
    ticks = sum(sum(map(int, fields[11:15])) for one in processes(pid) if (fields := _stat(one)))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; none when the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "ended"
