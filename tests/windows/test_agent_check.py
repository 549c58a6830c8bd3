# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`Check` says that the policy is in force exactly when Windows enforces it, and else why not."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from tests.windows.agents import AUDIT, GROUP, OWNER_MARK, STANDBY_MARK, Node
from tests.windows.windows import FakeWindows, Record

IN_FORCE: Final = "in force: policy "
DIFFERS: Final = "1 of {} rules are missing or altered"
STRAY: Final = "1 in our group are not this policy's"

Hand = Callable[[FakeWindows], None]


@dataclass(frozen=True)
class Case:
    """What somebody does, and texts of the answer."""

    hand: Hand
    answer: tuple[str, ...]


def rule(windows: FakeWindows, action: str, direction: str) -> Record:
    """The first rule of ours of this kind."""
    return next(
        record
        for record in windows.records()
        if record["Group"] == GROUP
        and (record["Action"], record["Direction"]) == (action, direction)
        and record["Enabled"] == "True"
    )


def altered(action: str, direction: str, **settings: Any) -> Case:
    """Settings of a rule of ours changed by hand; a callable makes the new value of the old."""

    def hand(windows: FakeWindows) -> None:
        old = rule(windows, action, direction)
        new = {k: v(old[k]) if callable(v) else v for k, v in settings.items()}
        assert any(old[key] != value for key, value in new.items())
        windows.edit(old["Name"], **new)

    return Case(hand, (DIFFERS, STRAY))


def stopped(*services: str) -> Case:
    texts = [text for s in services for text in (f"service {s} is Stopped", f"Start-Service {s}")]
    return Case(lambda windows: windows.stop(*services), tuple(texts))


def allowing(name: str, **settings: Any) -> Hand:
    """Somebody allows all inbound UDP by a rule that poses as one of ours."""
    return lambda windows: windows.add(name, Group=GROUP, Protocol="UDP", **settings)


def profile_off(name: str, by_policy: bool) -> Case:
    def hand(windows: FakeWindows) -> None:
        (windows.set_group_policy if by_policy else windows.set_profile)(name, Enabled="False")

    remedy = f"Set-NetFirewallProfile -Name {name} -Enabled True"
    return Case(hand, (f"the firewall profile {name} is off", remedy, "group policy"))


def excluded(*aliases: str) -> Case:
    def hand(windows: FakeWindows) -> None:
        windows.set_profile("Public", DisabledInterfaceAliases=list(aliases))

    return Case(
        hand, ("profile Public leaves out interface Ethernet (", "-DisabledInterfaceAliases")
    )


def ignoring(*profiles: str) -> Case:
    def hand(windows: FakeWindows) -> None:
        windows.set_group_policy(*profiles, AllowLocalFirewallRules="False")

    return Case(hand, (f"profile {profiles[-1]} ignore local rules (allow local rule merging",))


def overridden(windows: FakeWindows) -> None:
    """A group policy's rule of the same name takes the place of ours in ActiveStore."""
    name = rule(windows, "Block", "Inbound")["Name"]
    windows.add(name, StoreType="GroupPolicy", Group="corporate", Protocol="UDP")


def shadowed(windows: FakeWindows) -> None:
    """As above, and it poses as one of our group."""
    name = rule(windows, "Block", "Inbound")["Name"]
    windows.add(name, StoreType="GroupPolicy", Group=GROUP, Protocol="UDP")


def mark(**settings: Any) -> Hand:
    return lambda windows: windows.edit(OWNER_MARK, **settings)


def all_rules_deleted(windows: FakeWindows) -> None:
    for record in windows.records():
        if record["Group"] == GROUP and record["Name"] != OWNER_MARK:
            windows.delete(record["Name"])


def reordered(windows: FakeWindows) -> None:
    """Lists come back in an order of Windows' own, IPv6 in whichever spelling it likes."""
    for record in windows.records():
        if record["Group"] == GROUP:
            texts = [
                text.replace("fd00:1:", "FD00:0001:") for text in reversed(record["RemoteAddress"])
            ]
            windows.edit(
                record["Name"], RemoteAddress=texts, LocalPort=list(reversed(record["LocalPort"]))
            )
    assert any("FD00:0001:" in str(record["RemoteAddress"]) for record in windows.records())


NOT_ENFORCED: Final[dict[str, Case]] = {
    "mpssvc": stopped("mpssvc"),
    "bfe": stopped("BFE"),
    "both-services": stopped("mpssvc", "BFE"),
    "domain-off": profile_off("Domain", by_policy=False),
    "public-off": profile_off("Public", by_policy=False),
    "private-off-by-policy": profile_off("Private", by_policy=True),
    "our-interface-excluded": excluded("Ethernet"),
    "our-interface-excluded-with-another": excluded("vEthernet (Default Switch)", "Ethernet"),
    "local-rules-ignored": ignoring("Domain", "Private", "Public"),
    "local-rules-ignored-in-one-profile": ignoring("Public"),
    "overridden": Case(overridden, ("1 of {} rules are stored but not in effect", "group policy")),
    "shadowed": Case(shadowed, ("1 of {} rules are stored but not in effect", "group policy")),
    "all-deleted": Case(lambda w: w.delete_all(), ("nobody owns this node", "{0} of {0} rules")),
    "all-rules-deleted": Case(all_rules_deleted, ("{0} of {0} rules are missing",)),
    "block-deleted": Case(lambda w: w.delete(rule(w, "Block", "Outbound")["Name"]), (DIFFERS,)),
    "allow-deleted": Case(lambda w: w.delete(rule(w, "Allow", "Inbound")["Name"]), (DIFFERS,)),
    "name-changed-group": Case(
        lambda w: w.edit(rule(w, "Block", "Inbound")["Name"], Group="mine"), (DIFFERS,)
    ),
    "stray": Case(allowing("stray"), (STRAY,)),
    "stray-disabled": Case(allowing("stray", Enabled="False"), (STRAY,)),
    "stray-named-standby": Case(allowing(STANDBY_MARK + "evil"), (STRAY,)),
    "duplicate": Case(
        lambda w: w.add(**{**rule(w, "Block", "Inbound"), "name": "copy", "Name": "copy"}), (STRAY,)
    ),
    "mark-deleted": Case(lambda w: w.delete(OWNER_MARK), ("nobody owns this node",)),
    "mark-unreadable": Case(mark(Description="mine"), ("nobody owns this node",)),
    "mark-empty": Case(mark(Description=None), ("nobody owns this node",)),
    "mark-of-another": Case(
        mark(Description="owner=other release=a/b generation=0123456789ab"),
        ("superseded: pod other owns this node now",),
    ),
    "mark-turned-into-an-allow": Case(
        mark(Enabled="True", Direction="Inbound", Action="Allow", RemotePort=["Any"]), ()
    ),
    "direction": altered("Block", "Outbound", Direction="Inbound"),
    "action": altered("Block", "Outbound", Action="Allow"),
    "action-of-an-allow": altered("Allow", "Inbound", Action="Block"),
    "disabled": altered("Block", "Inbound", Enabled="False"),
    "profile": altered("Block", "Inbound", Profile="Domain, Private"),
    "edge-traversal": altered("Allow", "Inbound", EdgeTraversalPolicy="Allow"),
    "protocol": altered("Block", "Inbound", Protocol="TCP"),
    "local-port": altered("Block", "Inbound", LocalPort=["1"]),
    "one-port-less": altered("Block", "Inbound", LocalPort=lambda ports: ports[1:]),
    "remote-port": altered("Block", "Outbound", RemotePort=["1"]),
    "source-port": altered("Block", "Inbound", RemotePort=["1"]),
    "local-address": altered("Block", "Inbound", LocalAddress=["172.19.1.9"]),
    "remote-address": altered("Block", "Inbound", RemoteAddress=["172.19.1.9"]),
    "one-address-less": altered("Block", "Inbound", RemoteAddress=lambda texts: texts[1:]),
    "one-address-more": altered("Allow", "Inbound", RemoteAddress=lambda t: [*t, "192.0.2.1"]),
    "any-address": altered("Allow", "Inbound", RemoteAddress=["Any"]),
    "program": altered("Block", "Outbound", Program=r"C:\mine.exe"),
    "service": altered("Block", "Outbound", Service="Dnscache"),
    "interface": altered("Block", "Outbound", InterfaceAlias=["Wi-Fi"]),
    "interface-type": altered("Block", "Outbound", InterfaceType="Wireless"),
}
ENFORCED: Final[dict[str, Case]] = {
    "untouched": Case(lambda windows: None, (IN_FORCE,)),
    "another-interface-excluded": Case(excluded("Wi-Fi", "vEthernet").hand, (IN_FORCE,)),
    "reordered": Case(reordered, (IN_FORCE,)),
    "renamed-for-people": Case(
        lambda w: w.edit(rule(w, "Block", "Inbound")["Name"], DisplayName="x", Description="y"),
        (IN_FORCE,),
    ),
    "rules-of-others": Case(
        lambda w: w.add_many(
            {"Name": f"udp-security-{n}", "Group": ["udp", "@x,-1", None][n % 3]} for n in range(9)
        ),
        (IN_FORCE,),
    ),
    "a-standby": Case(
        allowing(STANDBY_MARK + "pod-9", Enabled="False", Direction="Outbound", Action="Block"),
        (IN_FORCE,),
    ),
}
CASES: Final = {**NOT_ENFORCED, **ENFORCED}

# One PowerShell for all: its start costs as much as several checks.
_SCRIPT: Final = """
Import-Module (Join-Path $env:ROOT 'config/Agent.psm1')
foreach ($computer in [System.IO.Directory]::GetDirectories($env:COMPUTERS)) {
    $env:FAKE_WINDOWS = Join-Path $computer 'windows.json'
    [Console]::Out.Write((Split-Path -Leaf $computer) + ' ')
    [Console]::Out.WriteLine((Invoke-Agent -Command Check -Root $env:ROOT))
}
"""


@dataclass(frozen=True)
class Answers:
    """For each case what Check said and its exit code; how many rules the policy has."""

    said: dict[str, tuple[str, int]]
    rules: int


@pytest.fixture(scope="module")
def answers(pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Every case on a computer of its own, all copies of one whose agent has just died."""
    directory = tmp_path_factory.mktemp("node")
    computers = tmp_path_factory.mktemp("computers")
    windows = FakeWindows(directory)
    with Node(windows, directory) as node:
        # The fake computer's own address, on its interface Ethernet.
        pod = node.start(node_ip="172.19.1.100")
        pod.kill()
        count = len(node.rules())
    for name, case in CASES.items():
        (computers / name).mkdir()
        computer = FakeWindows(computers / name)
        shutil.copy(windows.path, computer.path)
        case.hand(computer)
    variables = {**pod.environment, "ROOT": str(pod.root), "COMPUTERS": str(computers)}
    done = windows.pwsh(_SCRIPT, env=variables, timeout=240)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    # A line is the case and the answer; the exit code comes on a line of its own.
    return Answers(
        {
            name: (answer, int(code))
            for (name, answer), (code,) in zip(lines[::2], lines[1::2], strict=True)
        },
        count,
    )


@pytest.mark.parametrize("case", NOT_ENFORCED)
def test_what_is_not_enforced_is_said(answers: Answers, case: str) -> None:
    said, code = answers.said[case]
    assert code == 1, said
    assert said.startswith("not in force: ")
    for text in NOT_ENFORCED[case].answer:
        assert text.format(answers.rules) in said


@pytest.mark.parametrize("case", ENFORCED)
def test_what_is_enforced_is_said(answers: Answers, case: str) -> None:
    said, code = answers.said[case]
    assert code == 0, said
    assert said.startswith(IN_FORCE) and said.endswith(", mode enforce")


def test_the_process_says_the_same(node: Node) -> None:
    pod = node.pod()
    assert pod.check() == (False, "not in force: no policy was applied yet")
    pod.start()
    pod.wait_said("applied")
    hash_ = pod.environment["UDP_SECURITY_POLICY_SHA256"]
    assert pod.check() == (True, f"in force: policy {hash_[:12]}, mode enforce")
    # Where the node's interface cannot be found, each one that is left out may be it.
    node.windows.set_profile("Public", DisabledInterfaceAliases=["Wi-Fi"])
    ready, said = pod.check()
    assert not ready and "leaves out interface Wi-Fi" in said


_CHECK_EACH: Final = """
Import-Module (Join-Path $env:ROOTS '../state/adopted/Agent.psm1')
foreach ($root in [System.IO.Directory]::GetDirectories($env:ROOTS)) {
    [Console]::Out.Write((Split-Path -Leaf $root) + ' ')
    $null = Invoke-Agent -Command Check -Root $root
}
"""


def test_what_run_compiled_is_used_for_its_policy_alone(node: Node) -> None:
    """To compile takes minutes for some policies, a probe has seconds."""
    pod = node.start()
    pod.kill()
    hash_ = pod.environment["UDP_SECURITY_POLICY_SHA256"]
    left = (pod.state / "wanted").read_text(encoding="utf-8")
    keys = left.split("\n")[1:]
    assert len(keys) == len(node.rules())

    def leaving(hash_: str, keys: list[str]) -> str:
        text = "\n".join(keys)
        return hashlib.sha256(f"{hash_}\n{text}".encode()).hexdigest() + "\n" + text

    assert left == leaving(hash_, keys)
    # With one key too many, so that the answer tells whether it was used.
    more = leaving(hash_, [*keys, "more"])
    cases = {
        "its-own": left,
        "other-keys": more,
        "anothers": leaving(hash_[::-1], [*keys, "more"]),
        "nothings": leaving(hash_[::-1], []),
        "half": more[: len(more) // 2],
        "damaged": more.replace("more", "mere"),
        "empty": "",
        "zeros": "\0" * len(more),
        "none": None,
    }
    roots = pod.root / "roots"
    for case, text in cases.items():
        shutil.copytree(pod.state, roots / case / "state")
        (roots / case / "state" / "wanted").unlink()
        if text is not None:
            (roots / case / "state" / "wanted").write_text(text, encoding="utf-8")
    done = node.windows.pwsh(_CHECK_EACH, env={**pod.environment, "ROOTS": str(roots)})
    assert (done.returncode, done.stderr) == (0, "")
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said.keys() == cases.keys()
    assert f"1 of {len(keys) + 1} rules are missing" in said.pop("other-keys")
    assert {text.split(",")[0] for text in said.values()} == {f"{IN_FORCE}{hash_[:12]}"}


def test_audit_is_in_force_without_rules(node: Node) -> None:
    pod = node.start(AUDIT)
    assert [record["Name"] for record in node.ours()] == [OWNER_MARK]
    ready, said = pod.check()
    assert ready and said.endswith(", mode audit")
    node.windows.add("stray", Group=GROUP)
    pod.wait_said("healed")
    assert [record["Name"] for record in node.ours()] == [OWNER_MARK]


def test_the_running_agent_says_it_once_and_gets_over_it(node: Node) -> None:
    pod = node.start(poll_seconds=0.5)
    node.windows.set_profile("Public", Enabled="False")
    (reason,) = pod.wait_said("not-enforced")
    node.windows.stop("mpssvc")
    (stopped,) = pod.wait_said("no-firewall")
    assert "Start-Service mpssvc" in stopped
    assert pod.check() == (False, f"not in force: {stopped}")
    node.windows.start("mpssvc")
    pod.wait_said("not-enforced", times=2)
    assert pod.check() == (False, f"not in force: {reason}")
    node.windows.set_profile("Public", Enabled="True")
    # Its own last failure is no reason any more.
    assert pod.check()[0]
    assert (len(pod.said("applied")), pod.said("healed")) == (1, [])


def test_a_firewall_that_starts_late_is_waited_for(node: Node) -> None:
    node.windows.stop("BFE")
    pod = node.pod(poll_seconds=0.5)
    pod.start()
    (reason,) = pod.wait_said("no-firewall")
    assert pod.check() == (False, f"not in force: {reason}")
    node.windows.start("BFE")
    pod.wait_said("applied")
    assert pod.check()[0]
