# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the agent costs, and what it leaves alone, on a computer with thousands of others' rules.

What is measured here is printed: ``make test ARGS='-s tests/windows/test_agent_scale.py'``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.windows.agents import GROUP, Node
from tests.windows.pod import FILES, Pod
from tests.windows.policies import egress, ingress, rules_only
from tests.windows.windows import FakeWindows, Record

from udp_security.windows.compiler import Compiler
from udp_security.windows.firewall import FirewallRule

Json = dict[str, Any]

POLICY: Final = rules_only(
    ingress(514, from_=["10.0.0.0/8"]), ingress(7000), egress(53, to=["172.20.0.10"])
)
MOST_ADDRESSES: Final = 500
# What else than names the cmdlets select rules by.
OTHER_SELECTIONS: Final = {"All", "DisplayName", "Group", "DisplayGroup", "InputObject"}


@pytest.fixture
def node(windows: FakeWindows, tmp_path: Path) -> Iterator[Node]:
    with Node(windows, tmp_path) as made:
        yield made


def measured(what: str, seconds: float, limit: float) -> None:
    print(f"{what}: {seconds:.1f} s")
    assert seconds < limit, what


def seconds_of(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def as_record(rule: FirewallRule, **settings: Any) -> Record:
    """A compiled rule as the agent adds it."""
    return {
        "Name": rule.name,
        "Group": GROUP,
        "Direction": rule.direction,
        "Action": rule.action,
        "Protocol": rule.protocol,
        "LocalPort": list(rule.local_ports),
        "RemotePort": list(rule.remote_ports),
        "LocalAddress": list(rule.local_addresses),
        "RemoteAddress": list(rule.remote_addresses),
        **settings,
    }


def others_rules() -> list[Record]:
    """Rules of others, some of which look like ours."""
    with Compiler() as compiler:
        ours = compiler(POLICY)
    alike = [
        # What ours is to be called and shown as, and what it says.
        as_record(ours[0], Group="udp-security-other", DisplayName="udp-security"),
        as_record(ours[1], Name="udp-security-0123456789abcdef", Group="somebody"),
        as_record(ours[2], Name="udp-security-standby-pod-1", Group=None),
    ]
    return alike + [
        {
            "Name": f"{{{number:08X}}}",
            "Group": f"@group-{number % 50}",
            "Direction": ("Inbound", "Outbound")[number % 2],
            "Protocol": "UDP",
            "RemotePort": [f"{1 + number}"],
            "RemoteAddress": [f"10.{number // 250}.{number % 250}.0/255.255.255.0"],
        }
        for number in range(10_000 - len(alike))
    ]


def test_ten_thousand_rules_of_others(windows: FakeWindows, tmp_path: Path) -> None:
    """None of them is touched, and each call of the agent that changes rules names its own."""
    windows.add_many(others_rules())
    with Node(windows, tmp_path) as node:
        others = windows.records()
        pod = node.pod(POLICY, poll_seconds=0.2)
        pod.start()
        measured("first pass", seconds_of(lambda: pod.wait_said("applied", seconds=60)), 60)
        changes = len(windows.changes())
        node.wait_looks(pod, 1)
        measured("a pass without a change", seconds_of(lambda: node.wait_looks(pod, 1)), 20)
        assert len(windows.changes()) == changes
        began = time.monotonic()
        assert pod.check()[0]
        measured("check", time.monotonic() - began, 20)
        windows.delete(node.rules()[0]["Name"])
        pod.wait_said("healed", seconds=60)
        pod.kill()
        successor = node.start(rules_only(egress(53)), poll_seconds=0.2)
        assert successor.pre_stop() == "removed"
        assert windows.records() == others
    for call in windows.calls("Remove-NetFirewallRule", "Set-NetFirewallRule"):
        names = call["parameters"]["Name"]
        assert names and all(name.startswith("udp-security-") for name in names)
        assert not call["parameters"].keys() & OTHER_SELECTIONS
    for call in windows.calls("New-NetFirewallRule"):
        assert call["parameters"]["Group"] == GROUP


def calls_of_pass(node: Node, pod: Pod) -> list[str]:
    """The cmdlets that a pass calls when all is as it should be."""
    first = len(node.windows.calls())
    changes = len(node.windows.changes())
    node.wait_looks(pod, 3)
    calls = [call["cmdlet"] for call in node.windows.calls()[first:]]
    assert len(node.windows.changes()) == changes
    # From one look at the first service to the next one but one: there are two in each pass.
    begins = [i for i, cmdlet in enumerate(calls) if cmdlet == "Get-Service"][::2]
    looks = calls[begins[0] : begins[1]]
    return [cmdlet for cmdlet in looks if cmdlet != "Get-WinEvent"]


def test_the_calls_of_a_pass_do_not_grow(tmp_path: Path, pwsh: str) -> None:
    """A thousand rules are looked at in as many calls as a handful."""
    found = []
    # Ranges that overlap like tiles: one rule of the firewall for each.
    many = [
        egress(f"{10000 + number}-{10009 + number}", to=[f"10.{number // 250}.{number % 250}.0/24"])
        for number in range(1000)
    ]
    for name, policy in {"few": POLICY, "many": rules_only(*many)}.items():
        (tmp_path / name).mkdir()
        windows = FakeWindows(tmp_path / name)
        with Compiler() as compiler:
            rules = compiler(policy)
        # As if a pod before had been killed: to add a thousand takes a minute.
        windows.add_many(as_record(rule) for rule in rules)
        with Node(windows, tmp_path / name) as node:
            pod = node.pod(policy, poll_seconds=0.2)
            pod.start()
            pod.wait_said("applied", seconds=120)
            assert [call["cmdlet"] for call in windows.calls("New-NetFirewallRule")] == [
                "New-NetFirewallRule"  # the owner's mark
            ]
            warned = [f"{len(rules)} firewall rules" in text for text in pod.said("many-rules")]
            assert warned == [True] * (name == "many")
            found.append((len(rules), calls_of_pass(node, pod)))
    (few, calls), (many_, same) = found
    print(f"{few} and {many_} rules: {len(calls)} calls")
    assert few < 10 and many_ >= 1000
    assert calls == same


def test_an_idle_agent_sleeps(node: Node) -> None:
    """Between two polls it asks for events every two seconds at most."""
    pod = node.start(POLICY)
    pod.wait_for(lambda: node.windows.calls()[-1]["cmdlet"] == "Get-WinEvent", "an idle agent")
    first, began = len(node.windows.calls()), time.monotonic()
    pod.wait_for(lambda: len(node.windows.calls()) >= first + 2, "a look at events")
    assert time.monotonic() - began > 2
    assert {call["cmdlet"] for call in node.windows.calls()[first:]} == {"Get-WinEvent"}


_COMPILE: Final = """
Import-Module (Join-Path $env:AGENT 'Compile.psm1')
$policy = ConvertFrom-Json -InputObject ([System.IO.File]::ReadAllText($env:POLICY))
$process = [System.Diagnostics.Process]::GetCurrentProcess()
$times = foreach ($try in 1..3) {
    $process.Refresh()
    $began = $process.TotalProcessorTime
    $rules = ConvertTo-FirewallRule -Policy $policy
    $process.Refresh()
    ($process.TotalProcessorTime - $began).TotalSeconds
}
$rules = @(foreach ($rule in $rules) {
    @{ Action = $rule.Action; Direction = $rule.Direction; Addresses = $rule.RemoteAddress.Count }
})
@{ Seconds = ($times | Measure-Object -Minimum).Minimum; Rules = $rules } | ConvertTo-Json -Depth 4
"""


def compile_timed(windows: FakeWindows, folder: Path, policy: Json) -> tuple[float, list[Json]]:
    """The processor seconds that the best of three takes, and how many addresses each rule has."""
    file = folder / "policy.json"
    file.write_text(json.dumps(policy), encoding="utf-8")
    done = windows.pwsh(
        f"$ErrorActionPreference = 'Stop'{_COMPILE}",
        env={"AGENT": str(FILES), "POLICY": str(file)},
        timeout=120,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    made = json.loads(done.stdout)
    return made["Seconds"], made["Rules"]


def apart(number: int) -> list[str]:
    """Ten networks of one of a thousand rules. Beside each there are two of other rules'."""
    places = [number + 1000 * i for i in range(10)]
    return [f"10.{place // 100}.{place % 100 * 2}.0/24" for place in places]


def together(number: int) -> list[str]:
    """As ``apart``, but beside each there is one more of the same rule, but for one."""
    places = [10 * number + i for i in range(10)]
    return [f"10.{place // 100}.{place % 100 * 2}.0/24" for place in places]


# What lies between two networks of the same rule is closed on all ports: by rules of its own.
@pytest.mark.parametrize("networks, most", [(apart, 60), (together, 70)])
def test_a_thousand_ports_with_ten_networks_each(
    windows: FakeWindows, tmp_path: Path, networks: Callable[[int], list[str]], most: int
) -> None:
    rules = [egress(10000 + 2 * number, to=networks(number)) for number in range(1000)]
    seconds, made = compile_timed(windows, tmp_path, rules_only(*rules))
    outbound = [rule for rule in made if rule["Direction"] == "Outbound"]
    what = f"1,000 ports with 10 networks {networks.__name__}"
    measured(f"{what}: {len(outbound)} rules, compiled in", seconds, 5)
    assert len(outbound) <= most


def test_one_port_with_ten_thousand_networks(windows: FakeWindows, tmp_path: Path) -> None:
    rules = [egress(53, to=apart(number)) for number in range(1000)]
    seconds, made = compile_timed(windows, tmp_path, rules_only(*rules))
    outbound = [rule["Addresses"] for rule in made if rule["Direction"] == "Outbound"]
    # Between 10,000 networks and beside them; behind IPv4's loopback; all of IPv6.
    (rest, *full) = sorted(outbound)
    assert rest == 3  # all other ports: before and behind loopback, IPv6
    assert sum(full) == 10_000 + 1 + 1 + 1
    assert len(full) == math.ceil(sum(full) / MOST_ADDRESSES)
    measured(f"10,000 networks on one port: {len(full)} rules, compiled in", seconds, 5)
