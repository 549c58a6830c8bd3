# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The agent trusts a cached verdict only where no older policy can have left it.

Flows of every rhythm go on while one policy follows another that has the same marks to give:
busy ones, ones that pause for almost as long as conntrack remembers them, and ones that pause for
longer. What the newer policy denies never passes.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.lab.agents import (
    OPEN,
    POLICY,
    Documents,
    Node,
    check,
    documents,
    heals,
    replace,
    said,
    state,
    status,
    until,
)
from tests.lab.caching import (
    FEW_SLOTS,
    QUARANTINE,
    SLOTS,
    TIMEOUT,
    forgetful,
    made,
    masked,
    quarantined,
    set_free,
    trusting,
)
from tests.lab.counting import Counters
from tests.lab.flood import Flood

from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

TIGHTER: dict[str, Any] = {"rules": [{"name": "else", "direction": "ingress", "ports": [9]}]}
Change = Callable[[dict[str, str]], object]
OFF: dict[str, Any] = {"verdictCache": {"enabled": False}}
# Seconds between two packets of a flow.
RHYTHMS = (0.02, TIMEOUT * 0.4, TIMEOUT * 0.8, TIMEOUT + 0.5)

_TABLE = f"""table inet flows {{
    counter passed {{ }}
    chain input {{
        type filter hook input priority 100;
        udp dport {OPEN} counter name passed
    }}
}}
"""


@pytest.fixture(scope="module")
def lab(sandboxed: None) -> Iterator[Lab]:
    """A lab of this module's own: its conntrack forgets fast, and whole rulesets are flushed."""
    with Lab() as built:
        forgetful(built)
        yield built


class Flows:
    """Context manager: flows of all rhythms to OPEN, each on a socket of its own."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._cleanup = contextlib.ExitStack()
        self._stop = threading.Event()
        self._sent = [0] * len(RHYTHMS)
        self._threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(len(RHYTHMS))
        ]

    def passed(self) -> int:
        """How many packets have passed the agent's hooks so far."""
        return self._counters.packets()["passed"]

    def send_all(self) -> None:
        """Waits until each flow has sent one more packet."""
        sent = list(self._sent)
        until(lambda: all(now > then for now, then in zip(self._sent, sent, strict=True)))

    def pass_all(self) -> None:
        """Likewise, and some have passed."""
        before = self.passed()
        self.send_all()
        assert self.passed() > before

    def __enter__(self) -> Flows:
        self.load()
        namespace = self._node.lab.ns("node")
        self._counters = self._cleanup.enter_context(Counters(namespace, "flows"))
        # Without it conntrack would not remember the flows.
        sink = self._cleanup.enter_context(namespace.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sink.bind(("", OPEN))
        for thread in self._threads:
            thread.start()
        return self

    def load(self) -> None:
        """Put up the table that counts, again after a flush."""
        self._node.load(_TABLE)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._cleanup.close()
        self._node.nft("delete", "table", "inet", "flows", check=False)

    def _send(self, number: int) -> None:
        with self._node.lab.ns("outsider").socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.connect((self._node.lab.address("node"), OPEN))
            while True:
                sender.send(bytes(32))
                self._sent[number] += 1
                if self._stop.wait(RHYTHMS[number]):
                    return


@pytest.fixture
def flows(node: Node) -> Iterator[Flows]:
    with Flows(node) as sending:
        yield sending


def trusted(node: Node, documents_: Documents) -> AgentPod:
    """A pod whose cached verdicts are trusted: before it is time, but no flow has a mark."""
    pod = node.start(documents_)
    node.lab.ns("node").flush_conntrack()
    forget(node, pod)
    until(lambda: said(pod, "cached"))
    assert trusting(node)
    return pod


def nothing_passes(node: Node, flows: Flows, pod: AgentPod) -> None:
    """From the moment on in which the pod's policy is in force, for as long as it takes until its
    own verdicts are trusted, and for all flows' next packets after that."""
    before = flows.passed()
    until(lambda: trusting(node))
    flows.send_all()
    time.sleep(0.1)
    assert flows.passed() == before
    assert check(pod)[0] == 0


def healed(node: Node, pod: AgentPod) -> int:
    """Harmless damage, and the generation that heals it."""
    before = heals(pod, node.lab)
    node.nft("add", "chain", "inet", "udp_security", "theirs")
    until(lambda: heals(pod, node.lab) > before)
    print(pod.logs(), node.table())
    (generation,) = node.generations()
    return generation


def forget(node: Node, pod: AgentPod) -> None:
    """No value is doubtful any more, and it stays so."""

    def forgotten() -> bool:
        set_free(node, pod)
        time.sleep(0.3)
        return not quarantined(node)

    until(forgotten)


def test_trust_is_told(node: Node) -> None:
    pod = node.start(documents(POLICY))
    assert len(quarantined(node)) == 1
    assert status(pod)["cache"] == {"trusted": False}
    assert not trusting(node)
    policy = node.policy()
    forget(node, pod)
    until(lambda: said(pod, "cached"))
    assert trusting(node)
    assert status(pod)["cache"] == {"trusted": True}
    assert check(pod)[0] == 0
    assert node.policy() != policy
    # Trust is no change that anybody heals.
    assert heals(pod, node.lab) == 0
    # Other values are free: the next generation is trusted at once, and no event says so.
    healed(node, pod)
    assert trusting(node)
    assert status(pod)["cache"] == {"trusted": True}
    assert len(said(pod, "cached")) == 1


def test_trust_comes_in_time(node: Node) -> None:
    began = time.monotonic()
    pod = node.start(made(POLICY))
    until(lambda: said(pod, "cached"))
    assert time.monotonic() - began > QUARANTINE


def test_values_that_somebody_sets_free_are_not_trusted(node: Node, flows: Flows) -> None:
    """Who empties the set does not make a new generation trust what an old one accepted."""
    old = trusted(node, made(POLICY))
    flows.pass_all()
    # As long as on a node: flows would be forgotten by the kernel long before.
    new = node.start(documents({**TIGHTER, "linux": {"verdictCache": {"mask": FEW_SLOTS}}}))
    assert old.stop() == 0
    waiting = quarantined(node)
    assert waiting
    # Only what it has seen it misses.
    remembered = state(new, node.lab) / "quarantine"
    until(lambda: remembered.exists() and remembered.stat().st_size)
    for how in ("flush set", "delete element"):
        words = ["{", ",".join(map(str, waiting)), "}"] if how == "delete element" else []
        node.nft(*how.split(), "inet", "udp_security", f"cache.{FEW_SLOTS:08x}", *words)
        until(lambda: quarantined(node) == waiting)
    # Once more where its look and the change met.
    until(lambda: len(said(new, "quarantine")) >= 2)
    assert not trusting(node)
    assert check(new)[0] == 0


# A line `GENERATIONS;SLOTS-IN-QUARANTINE` for each state, answered by the next generation, whether
# it is trusted, and the slots that go into quarantine then.
_ANSWER = r"""
for part in log policy nftables; do . /run/udp-security/policy/$part.sh; done
STATE=/run/udp-security
quarantined() { printf '%s\n' $doubtful; }
while IFS=';' read -r present doubtful; do
    outline="	set $(cache_set) {
		ct mark set
$(for number in $present; do printf '\tchain g%s.input {\n' $number; done)"
    next=$(next_generation "$outline")
    trusted $next "$present" && trust=yes || trust=no
    echo "$next;$trust;"$(retire "$outline" | sed -n 's/.*{ \([0-9]*\) timeout.*/\1/p')
done
"""


def test_no_value_is_trusted_that_may_be_in_use(node: Node) -> None:
    """In any state, however many swaps led to it, and whatever they left behind."""
    pod = node.start(made(masked(POLICY, FEW_SLOTS)))
    seed = random.Random(7)
    states = [
        (
            sorted(seed.sample(range(1, seed.choice((6, 40, 3000))), seed.randint(1, 4))),
            sorted(seed.sample(range(SLOTS + 1), seed.choice((0, 1, 2, 3, 4, 5, 6)))),
        )
        for _ in range(200)
    ]
    lines = "".join(f"{' '.join(map(str, a))};{' '.join(map(str, b))}\n" for a, b in states)
    (state(pod, node.lab) / "states").write_text(lines, encoding="ascii")
    done = pod.run(["sh", "-c", f"{{ {_ANSWER} }} </run/udp-security/states"], timeout=120)
    assert done.stderr == ""
    answers = done.stdout.splitlines()
    verdicts = []
    for (present, doubtful), answer in zip(states, answers, strict=True):
        number, trust, retired = answer.split(";")
        generation, used = int(number), {one % SLOTS for one in present}
        free = set(range(SLOTS)) - used - set(doubtful) if SLOTS not in doubtful else set()
        assert generation > max(present), (present, doubtful, answer)
        assert (trust == "yes") == (generation % SLOTS in free), (present, doubtful, answer)
        assert (trust == "yes") == bool(free), (present, doubtful, answer)
        assert {int(slot) for slot in retired.split()} == used, (present, doubtful, answer)
        verdicts.append(trust)
    assert min(verdicts.count("yes"), verdicts.count("no")) > 30


def test_no_cache(node: Node) -> None:
    pod = node.start(documents({**POLICY, "linux": OFF}))
    assert status(pod)["cache"] is None
    forget(node, pod)
    healed(node, pod)
    assert not trusting(node)
    assert said(pod, "cached") == []


def reinstalled(node: Node, flows: Flows, old: AgentPod, change: Change) -> AgentPod:
    """Uninstalled and installed again: the new table's first generation has the old one's marks."""
    assert old.stop() == 0
    assert node.table() == ""
    return node.start(made(TIGHTER, change=change))


def flushed(node: Node, flows: Flows, old: AgentPod, change: Change) -> AgentPod:
    """The agent is killed, somebody flushes all rules, and a new agent comes."""
    old.kill()
    node.nft("flush", "ruleset")
    node.forget_others()
    flows.load()
    return node.start(made(TIGHTER, change=change))


def masked_and_back(node: Node, flows: Flows, old: AgentPod, change: Change) -> AgentPod:
    """Another mask, and the first one again, with the tighter policy."""
    for values in (masked(POLICY, FEW_SLOTS), TIGHTER):
        new = node.start(made(values, change=change))
        assert old.stop() == 0
        old = new
    return old


def off_and_on(node: Node, flows: Flows, old: AgentPod, change: Change) -> AgentPod:
    """Without a cache, and with one again."""
    for values in ({**POLICY, "linux": OFF}, TIGHTER):
        new = node.start(made(values, change=change))
        assert old.stop() == 0
        old = new
    return old


@pytest.mark.parametrize(
    "follow", [reinstalled, flushed, masked_and_back, off_and_on], ids=lambda f: f.__name__
)
def test_what_a_tighter_policy_denies_never_passes(
    node: Node, flows: Flows, follow: Callable[..., AgentPod]
) -> None:
    old = trusted(node, made(POLICY))
    flows.pass_all()
    new = follow(node, flows, old, lambda _: None)
    nothing_passes(node, flows, new)


def test_these_tests_would_see_it(node: Node, flows: Flows) -> None:
    """An agent that trusts at once lets flows of the older policy pass."""

    def trust(data: dict[str, str]) -> None:
        judged = 'generation "$_generation" judging'
        replace(data, "nftables.sh", judged, judged.replace("judging", "trusting"))

    old = trusted(node, made(POLICY))
    flows.pass_all()
    reinstalled(node, flows, old, trust)
    before = flows.passed()
    until(lambda: trusting(node) and flows.passed() > before)


def test_few_slots(node: Node) -> None:
    """A generation whose marks may still be about is not trusted, and no packet notices."""
    pod = trusted(node, made(masked(POLICY, FEW_SLOTS)))
    with Flood(node.lab, rest=0.002) as flood:
        for _ in range(8):
            waiting = quarantined(node)
            generation = healed(node, pod)
            # Trust may have come between any two of these looks.
            believed = trusting(node)
            assert not (believed and generation % SLOTS in waiting & quarantined(node))
    assert (flood.lost, flood.leaked) == (0, 0)


def test_no_slot_left(node: Node) -> None:
    """Each generation that comes now has to wait, and is trusted as soon as its own marks are gone,
    or as soon as no mark is doubtful any more."""
    pod = trusted(node, made(masked(POLICY, FEW_SLOTS)))
    with Flood(node.lab, rest=0.002) as flood:
        for slots in (range(SLOTS), (SLOTS,)):
            told = len(said(pod, "cached"))
            forget(node, pod)
            waiting = ", ".join(f"{slot} timeout 60s" for slot in slots)
            node.nft("add", "element", "inet", "udp_security", "cache.fc000000", f"{{ {waiting} }}")
            healed(node, pod)
            assert not trusting(node)
            assert status(pod)["cache"] == {"trusted": False}
            assert check(pod)[0] == 0
            forget(node, pod)
            until(lambda told=told: len(said(pod, "cached")) > told)  # type: ignore[misc]
            assert trusting(node)
            assert status(pod)["cache"] == {"trusted": True}
            assert check(pod)[0] == 0
    assert (flood.lost, flood.leaked) == (0, 0)


FORWARDED = 6100
TWO_SLOTS = 0xF8000000  # a mask with room for two generations


def forwarding(*ports: int, cached: bool = True) -> Documents:
    """A pod that lets these ports be forwarded."""
    rule = {"name": "forwarded", "direction": "forward", "ports": list(ports)}
    cache = {"enabled": cached, "mask": TWO_SLOTS}
    return made({"rules": [rule], "linux": {"verdictCache": cache}})


class Forwarded:
    """Context manager: a flow from one namespace through the node to the port FORWARDED of a pod.

    Between ``keep`` and ``rest`` it goes on with packets of ``hops`` hops to live.
    """

    def __init__(self, lab: Lab, source: str, pod: str, hops: int) -> None:
        self._cleanup = contextlib.ExitStack()
        self._socket = self._open(lab, source)
        self._sink = self._open(lab, pod)
        self._sink.bind(("", FORWARDED))
        self._socket.connect((lab.address(pod), FORWARDED))
        self._hops = hops
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _open(self, lab: Lab, namespace: str) -> socket.socket:
        opened = lab.ns(namespace).socket(socket.AF_INET, socket.SOCK_DGRAM)
        return self._cleanup.enter_context(opened)

    def _live(self, hops: int) -> None:
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)

    def _send(self) -> None:
        while not self._enough.wait(TIMEOUT / 10):
            self._socket.send(b"alive")

    def passes(self, timeout: float) -> bool:
        """Whether a packet arrives within so many seconds."""
        self._sink.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._sink.recv(32)
        self._sink.settimeout(timeout)
        self._socket.send(b"?")
        try:
            return bool(self._sink.recv(32))
        except TimeoutError:
            return False

    def keep(self) -> None:
        """Send on from now on."""
        self._live(self._hops)
        self._thread.start()

    def rest(self) -> None:
        """Send no more by itself; what is sent now can arrive."""
        self._enough.set()
        self._thread.join()
        self._live(64)

    def __enter__(self) -> Forwarded:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self.rest()
        self._cleanup.close()


def reinstall(node: Node, old: AgentPod) -> None:
    """Another table with the old one's numbers, which must not be trusted at first."""
    assert old.stop() == 0
    node.start(forwarding(9))


def swap_twice(node: Node, old: AgentPod, *, cached: bool = True) -> None:
    """Both generations deny it; the second has the slot of the first of all."""
    first = max(node.generations()) % 2
    between = node.start(forwarding(9, cached=cached))
    assert old.stop() == 0
    until(lambda: first not in quarantined(node))
    node.start(forwarding(9, 10))
    assert between.stop() == 0
    assert max(node.generations()) % 2 == first


def swap_without_cache(node: Node, old: AgentPod) -> None:
    """The generation in between does not touch marks."""
    swap_twice(node, old, cached=False)


@pytest.mark.parametrize(
    ("source", "pod", "hops", "follow"),
    [
        # The router in between takes one hop, the node the other.
        pytest.param("outsider", "pod-a", 2, reinstall, id="dies-reinstalled"),
        pytest.param("pod-b", "pod-c", 1, swap_twice, id="dies-while-swapped"),
        pytest.param("outsider", "pod-a", 64, swap_without_cache, id="denied-without-cache"),
    ],
)
def test_no_verdict_outlives_its_policy(
    node: Node, source: str, pod: str, hops: int, follow: Callable[[Node, AgentPod], None]
) -> None:
    """Packets keep a flow's entry alive, and its mark, but no hook sees them, or none that looks
    at marks, until a generation that denies the flow has the old one's values."""
    allowing = trusted(node, forwarding(FORWARDED))
    with Forwarded(node.lab, source, pod, hops) as flow:
        # The second packet passes by what is cached.
        assert flow.passes(5)
        assert flow.passes(5)
        flow.keep()
        follow(node, allowing)
        until(lambda: trusting(node))
        flow.rest()
        assert not any([flow.passes(0.2) for _ in range(3)])


PURGE = ("prerouting", "output")
# A packet's mark right behind conntrack and the chains that purge; 0x3f is the value of slot 20.
_MARKS = f"""table inet marks {{
    counter kept {{ }}
    counter stale {{ }}
    chain prerouting {{
        type filter hook prerouting priority -190;
        udp dport {OPEN} ct mark and 0x00ffffff == 0x2a counter name kept
        udp dport {OPEN} ct mark and 0x3f000000 == 0x3f000000 counter name stale
    }}
    chain input {{
        type filter hook input priority 100;
        udp dport {OPEN} ct mark set 0x3f00002a
    }}
}}
"""


def purging(node: Node) -> bool:
    """Whether the chains that take old values away are there, both or none."""
    table = node.table()
    (there,) = {f"\tchain purge.{hook} {{" in table for hook in PURGE}
    return there


def test_old_values_are_purged_during_the_quarantine_alone(node: Node) -> None:
    """Others' bits stay. The chains go when no value is in quarantine, and come with the next."""
    pod = node.start(documents(POLICY))
    node.load(_MARKS)
    with (
        contextlib.ExitStack() as cleanup,
        Counters(node.lab.ns("node"), "marks") as marks,
        node.lab.stream("outsider", node.lab.address("node"), OPEN) as flow,
    ):
        cleanup.callback(node.nft, "delete", "table", "inet", "marks")
        for trust in (False, True):
            before = marks.packets()
            assert purging(node)
            assert trusting(node) == trust
            for _ in range(3):
                assert flow.send(timeout=5).replied
            now = marks.packets()
            assert now["kept"] - before["kept"] >= 2
            assert now["stale"] == before["stale"]
            assert check(pod)[0] == 0
            told = heals(pod, node.lab)
            forget(node, pod)
            until(lambda: trusting(node) and not purging(node))
            assert check(pod)[0] == 0
            assert heals(pod, node.lab) == told
            healed(node, pod)
