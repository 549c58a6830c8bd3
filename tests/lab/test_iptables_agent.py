# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The agent with the iptables backend: who owns the node, what is damaged and healed by the poll,
what others' rules see, and that nothing is left in the end. Both variants of the tools."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from tests.lab import iptables
from tests.lab.agents import (
    ANOTHER_POLICY,
    OPEN,
    OTHER,
    OTHER_RELEASE,
    POLICY,
    Documents,
    check,
    config_data,
    documents,
    heals,
    hurry,
    said,
    state,
    status,
    until,
    with_files,
)
from tests.lab.flood import Flood
from tests.lab.iptables import VARIANTS
from tests.lab.iptables_node import FilterNode, filter_node

from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

EITHER: Final = pytest.mark.parametrize("node", VARIANTS, indirect=True)
"""For what the variants may differ in."""


@pytest.fixture
def node(lab: Lab, request: pytest.FixtureRequest) -> Iterator[FilterNode]:
    """A node whose agents take one variant, nft unless a test asks for either."""
    with filter_node(lab, getattr(request, "param", "nft")) as governed:
        yield governed


def rolled_out(node: FilterNode, **values: Any) -> tuple[AgentPod, AgentPod]:
    """A pod, superseded and standing by, and the newer one that owns the node."""
    old = node.start(node.made({**POLICY, **values}))
    new = node.start(node.made({**ANOTHER_POLICY, **values}))
    until(lambda: node.standing_by(old))
    return old, new


@EITHER
def test_claimed_reported_and_given_back(node: FilterNode) -> None:
    before = node.foreign()
    pod = node.start()
    assert node.owners() == [pod.uid] * 2
    assert node.foreign() == before
    node.lab.probe("outsider", node.lab.address("node"), OPEN)
    node.lab.probe("outsider", node.lab.address("node", 6), OTHER)
    told = status(pod)
    assert (told["backend"], told["healthy"], told["owner"]) == ("iptables", True, pod.uid)
    assert (told["deniedFlows"], told["deniedPorts"], told["cache"]) == (None, None, None)
    packets = {rule["name"]: rule["packets"] for rule in told["counters"]["rules"]}
    assert (packets["open"], packets["preset:dns:forward"]) == (2, 0)
    denied = {name: count["packets"] for name, count in told["counters"]["denied"].items()}
    assert denied == {"ingress": 1, "egress": 0, "forward": 0}
    assert pod.stop() == 0
    assert said(pod, "removed") == ["all rules are removed: UDP is open again"]
    assert (node.table(), node.foreign()) == ("", before)


def test_rules_behind_ours_see_what_is_allowed(node: FilterNode) -> None:
    theirs = ("-p", "udp", "--dport", str(OPEN), "-j", "DROP")
    node.tool("-A", "INPUT", *theirs)
    try:
        pod = node.start()
        assert not node.lab.probe("outsider", node.lab.address("node"), OPEN).delivered
        assert node.counters()["r.open"] == 1
        assert pod.stop() == 0
    finally:
        node.tool("-D", "INPUT", *theirs)


@EITHER
def test_counters_outlive_a_rollout(node: FilterNode) -> None:
    old = node.start()
    node.lab.probe("outsider", node.lab.address("node"), OPEN)
    before = node.counters()
    extended = {"rules": [*POLICY["rules"], *ANOTHER_POLICY["rules"]]}
    node.start(node.made({**extended, "mode": "audit"}))
    assert old.stop() == 0
    assert node.counters() == {**before, "r.other": 0}
    assert before["r.open"] == 2
    assert len(node.generations()) == 1


def test_a_rollback_hands_the_node_back_without_a_gap(node: FilterNode) -> None:
    old, new = rolled_out(node)
    assert node.owners() == [new.uid] * 2
    assert check(old) == (1, f"not in force: superseded: pod {new.uid} owns this node now\n")
    done = old.exec("remove")
    assert done.returncode == 1
    assert done.stderr.startswith(f"not removed: pod {new.uid} owns the rules ")
    with Flood(node.lab, rest=0.001) as flood:
        assert new.stop() == 0
        assert said(new, "stopped") == ["handed the rules over to the pod that stands by"]
        until(lambda: said(old, "taken-over"))
        assert check(old)[0] == 0
    assert (flood.lost, flood.leaked) == (0, 0)
    assert node.owners() == [old.uid] * 2
    assert "r.other" not in node.table()
    assert old.exec("remove").stdout == "removed\n"
    assert node.table() == ""
    assert old.exec("remove").stdout == "nothing to remove\n"


@pytest.mark.parametrize(
    ("node", "before"), [("nft", "nobody"), ("legacy", "an old pod")], indirect=["node"]
)
def test_two_pods_at_the_same_moment(node: FilterNode, before: str) -> None:
    """Exactly one of them owns the node afterwards, and the rules are its policy's alone."""
    seed = random.Random(0)
    for _ in range(2):
        if before != "nobody":
            node.start().kill()
        pods = [node.pod(node.made(ANOTHER_POLICY)), node.pod()]
        for pod in pods:
            pod.start()
            pod.signal(signal.SIGSTOP)
        for pod in pods:
            pod.signal(signal.SIGCONT)
            time.sleep(seed.random() / 50)
        until(lambda pods=pods: any(said(pod, "superseded") for pod in pods))  # type: ignore[misc]
        (owner,) = (pod for pod in pods if not said(pod, "superseded"))
        until(lambda owner=owner: check(owner)[0] == 0)  # type: ignore[misc]
        assert node.owners() == [owner.uid] * 2
        assert len(node.generations()) == 1
        assert not [pod for pod in pods if said(pod, "bad-ruleset") or said(pod, "leftovers")]
        for pod in pods:
            pod.kill()
        node.wipe()


@EITHER
def test_swaps_lose_and_leak_nothing(node: FilterNode) -> None:
    pod = node.start(node.made(poll=0.05))
    with Flood(node.lab) as flood:
        for number in range(5):
            node.tool("-N", "UDPSEC-theirs")
            until(lambda number=number: heals(pod, node.lab) > number)  # type: ignore[misc]
    assert flood.sent > 1000
    assert (flood.lost, flood.leaked) == (0, 0)


# Words for iptables, or for ip6tables with "6" before them; N is the generation's number.
DAMAGES: Final[Mapping[str, str]] = {
    "flush": "-F",
    "jump-deleted": "-D INPUT -p udp -j UDPSEC-INPUT",
    "jump-of-ipv6-deleted": "6 -D FORWARD -p udp -j UDPSEC-FORWARD",
    "rule-before-the-jump": "6 -I OUTPUT -p udp -j ACCEPT",
    "second-jump": "-A FORWARD -p udp -j UDPSEC-FORWARD",
    "chain-flushed": "-F UDPSEC-N-ingress",
    "hook-chain-flushed": "6 -F UDPSEC-INPUT",
    "rule-added": "-I UDPSEC-N-forward -j RETURN",
    "chain-of-a-later-generation": "-N UDPSEC-99999-x",
    "chain-renamed": "-E UDPSEC-N-egress UDPSEC-mine",
}


@EITHER
def test_damage_fails_the_check_and_is_healed(node: FilterNode) -> None:
    """`iptables -F` takes others' rules as well: then only ours come back."""
    pod = node.start(with_files({**POLICY, "linux": {"backend": "iptables"}}, hurry))
    policy = node.policy()
    damages = list(DAMAGES.items())
    for number, (name, words) in enumerate(damages if node.variant == "nft" else damages[::5]):
        family = 6 if words.startswith("6 ") else 4
        (generation,) = node.generations()
        command = words.removeprefix("6 ").replace("-N-", f"-{generation}-").split()
        # The check is another process: it sees what the stopped agent cannot undo yet.
        pod.signal(signal.SIGSTOP)
        saved = node.run([f"{iptables.TOOLS[family]}-{node.variant}-save", "-t", "filter"]).stdout
        node.tool(*command, family=family)
        code, reason = check(pod)
        pod.signal(signal.SIGCONT)
        assert (code, reason.startswith("not in force: the ")) == (1, True), name
        until(lambda number=number: heals(pod, node.lab) > number)  # type: ignore[misc]
        assert check(pod)[0] == 0, name
        assert node.policy() == policy, name
        assert node.owners() == [pod.uid] * 2, name
        assert heals(pod, node.lab) == number + 1, name
        # As it was before, with their rule after ours.
        if name == "flush":
            restored = "".join(line for line in saved.splitlines(True) if "UDPSEC-" not in line)
            node.run([f"iptables-{node.variant}-restore", "--noflush"], stdin=restored)
        elif name == "rule-before-the-jump":
            chain, *theirs = command[1:]
            node.tool("-D", chain, *theirs, family=family)
        assert check(pod)[0] == 0, name
    assert not said(pod, "leftovers")


def test_a_second_release_does_not_take_the_node_over(node: FilterNode) -> None:
    first = node.start()
    second = node.pod(node.made(ANOTHER_POLICY, environment=OTHER_RELEASE))
    second.start()
    (reason,) = until(lambda: said(second, "other-release"))
    assert "Helm release udp-security/udp-security guards this node" in reason
    assert "as docs/iptables.md says" in reason
    assert node.owners() == [first.uid] * 2
    assert first.stop() == 0
    second.wait_ready()


def test_too_large_a_policy_leaves_the_rules_that_are_there(node: FilterNode) -> None:
    old = node.start()
    policy = node.policy()
    networks = [f"10.{n // 256}.{n % 256}.0/24" for n in range(1300)]
    rules = [
        {"name": f"r{n}", "direction": "ingress", "ports": [n], "from": networks}
        for n in range(1, 13)
    ]
    new = node.pod(node.made({"rules": rules}))
    new.start()
    (reason,) = until(lambda: said(new, "bad-ruleset"))
    assert "needs more than 30000 rules of IPv4 in iptables" in reason
    assert (node.owners(), node.policy()) == ([old.uid] * 2, policy)
    assert new.stop() == 0
    assert old.ready()


@EITHER
def test_only_what_was_loaded_is_recorded(node: FilterNode, tmp_path: Path) -> None:
    """Whatever somebody changes right after a swap: no digest, and another swap mends it."""
    made = node.made({**POLICY, "linux": {"prefilter": True}})
    iptables.prepare(tmp_path, config_data(made), node.variant)

    def says(code: str) -> str:
        return iptables.call(node.run, tmp_path, code, check=False).stdout

    swap = 'seen=$(iptables_look); iptables_swap "$seen" "$(echo "$seen" | iptables_owner)"'
    record = "iptables_record || echo differs"
    # Who waits is no difference.
    digest, recorded = says(f"{swap} && iptables_standby && iptables_digest; {record}").split()
    assert re.fullmatch("[0-9a-f]{64}", digest) and recorded == digest
    assert says(record).strip() == digest
    damages = {
        **DAMAGES,
        "jump-not-first": "-I INPUT -p udp -j ACCEPT",
        "chain-added": "6 -N UDPSEC-theirs",
        "counting-chain-flushed": "-F UDPSEC-r.open",
        "mark-renamed": "-E UDPSEC-O-a UDPSEC-O-b",
        "rule-deleted": "6 -D UDPSEC-INPUT 1",
    }
    del damages["flush"]  # others' rules
    for name, words in damages.items() if node.variant == "nft" else list(damages.items())[::4]:
        family = 6 if words.startswith("6 ") else 4
        (generation,) = node.generations()
        command = words.removeprefix("6 ").replace("-N-", f"-{generation}-").split()
        node.tool(*command, family=family)
        assert says(record) == "differs\n", name
        digest, recorded = says(f"{swap} && iptables_digest; {record}").split()
        assert recorded == digest, name
        if command[-1] == "ACCEPT":
            node.tool("-D", *command[1:], family=family)
    # What cannot be deleted stays beside the rules: to try for ever would pile it up.
    (generation,) = node.generations()
    leading_there = ("FORWARD", "-j", f"UDPSEC-{generation}-forward")
    node.tool("-A", *leading_there)
    out = says(f"{swap}; iptables_digest; {record}").splitlines()
    node.tool("-D", *leading_there)
    assert "event=leftovers" in out[0] and out[-2] == out[-1]
    assert "linux.prefilter has no effect with iptables" in says("iptables_not_governed")


@pytest.mark.parametrize(
    "damage",
    ["-D INPUT -p udp -j UDPSEC-INPUT", "-I INPUT -p udp --dport 9 -j ACCEPT"],
    ids=["jump-deleted", "rule-before-the-jump"],
)
def test_damage_at_once_is_not_what_is_wanted(node: FilterNode, damage: str) -> None:
    """A change right after the load, before the agent has seen what it loaded, is healed."""
    pod = node.pod()
    pod.start()
    tool = f"iptables-{node.variant} -w"
    jump = "-p udp -j UDPSEC-INPUT"
    node.run(["sh", "-c", f"until {tool} -C INPUT {jump} 2>/dev/null; do :; done; {tool} {damage}"])
    until(lambda: f"-A INPUT {jump}" in node.tool("-S", "INPUT").splitlines()[1:2])
    until(lambda: check(pod)[0] == 0)
    assert node.owners() == [pod.uid] * 2
    if damage.startswith("-I"):
        node.tool(*damage.replace("-I", "-D").split())
    assert check(pod)[0] == 0


def test_without_ip6tables(node: FilterNode, tmp_path: Path) -> None:
    """IPv4 is guarded all the same, and the rest is said."""
    pod = node.start()
    files = {name: (tmp_path / name) for name in ("bin", "state")}
    for folder in files.values():
        folder.mkdir()
    for program in ("save", "restore"):
        script = files["bin"] / f"ip6tables-{node.variant}-{program}"
        script.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
        script.chmod(0o755)
    assert pod.stop() == 0
    iptables.prepare(files["state"], config_data(node.made()), node.variant)
    code = f"PATH={files['bin']}:$PATH\napply applied; iptables_not_governed; iptables_look"
    out = iptables.call(node.run, files["state"], code).stdout
    assert "event=applied" in out
    assert "\nIPv6: ip6tables does not work here (" in out
    assert "\n4 owner a\n" in out
    assert "\n6 " not in out


def test_unreadable_rules_are_not_taken_for_none(node: FilterNode, tmp_path: Path) -> None:
    """A listing that fails once makes nobody claim the node, or load anything."""
    folders = {name: (tmp_path / name) for name in ("bin", "state")}
    for folder in folders.values():
        folder.mkdir()
    iptables.prepare(folders["state"], config_data(node.made()), node.variant)
    iptables.call(node.run, folders["state"], "apply applied")
    before, owners = node.policy(), node.owners()
    for tool in ("iptables", "ip6tables"):
        script = folders["bin"] / f"{tool}-{node.variant}-save"
        script.write_text("#!/bin/sh\nexit 1\n", encoding="ascii")
        script.chmod(0o755)
        code = f"PATH={folders['bin']}:$PATH\niptables_look && echo none; apply healed || echo kept"
        out = iptables.call(node.run, folders["state"], code).stdout
        assert "none\n" not in out and "cannot be read" in out and out.endswith("kept\n")
        script.unlink()
    assert (node.policy(), node.owners()) == (before, owners)


@EITHER
def test_another_backend_leaves_nothing_behind(node: FilterNode) -> None:
    """Rules that nobody would ever heal or remove again go."""
    keep = {**POLICY, "linux": {"onStop": "keep"}}
    nftables = {**POLICY, "linux": {"onStop": "keep", "backend": "auto"}}
    first = node.start(node.made(keep))
    assert first.stop() == 0
    assert node.table() != ""

    second = node.start(documents(nftables))
    until(lambda: said(second, "retired"))
    assert node.table() == ""
    # The variant's mark was ours as well.
    node.wipe()
    third = node.start(node.made(keep))
    assert second.stop() == 0
    until(lambda: "table inet udp_security" not in node.nft("list", "tables"))
    assert check(third)[0] == 0
    assert node.owners() == [third.uid] * 2
    # It looks a few times only.
    until(lambda: not (state(third, node.lab) / "other").exists())


@pytest.mark.parametrize("first_is", ["nftables", "iptables"])
def test_a_second_release_does_not_filter_beside_the_first(node: FilterNode, first_is: str) -> None:
    """With the other backend it could: what only one of the two allows would pass no more."""
    ways: dict[str, Callable[..., Documents]] = {"iptables": node.made, "nftables": documents}
    first = node.start(ways.pop(first_is)())
    (other,) = ways.values()
    second = node.pod(other(environment=OTHER_RELEASE))
    second.start()
    (reason,) = until(lambda: said(second, "other-release"))
    assert "Helm release udp-security/udp-security guards this node" in reason
    assert first.uid in reason
    # Neither does it take away what a killed owner has left.
    first.kill()
    assert check(second) == (1, f"not in force: {reason}\n")
    first.start()
    first.wait_ready()
    assert not said(second, "retired") and heals(first, node.lab) == 0
    assert first.stop() == 0
    second.wait_ready()
    assert second.stop() == 0
