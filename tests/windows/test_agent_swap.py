# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""There are no transactions: what passes while rules change, after each change of a single rule."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from tests import strategies
from tests.windows.flows import edges, wavering
from tests.windows.pod import FILES, Pod
from tests.windows.policies import egress, ingress, policy_json, rules_only
from tests.windows.windows import FakeWindows, Record

Json = dict[str, Any]

_OPEN: Final = (
    ingress("500-600", 5000, from_=["10.0.0.0/8", "fd00::/8"]),
    ingress(7000),
    egress(53, 123, 4000),
    egress("8000-8010", to=["172.20.0.0/16", "2001:db8::/32"]),
)
_TIGHT: Final = (
    ingress(514, from_=["10.1.0.0/16", "fd00:1::/32"]),
    egress(53, to=["172.20.0.10", "fd00::a"]),
    egress("8000-8010", to=["172.20.0.0/16"]),
)
_NARROW: Final = (
    ingress(7000, from_=["10.0.0.0/8", "fd00::/8"], to=["172.19.1.1", "fd00:19::1"]),
    ingress(514, 7000, from_=["10.1.0.0/16"], to=["172.19.1.0/24"]),
    egress(53, from_=["172.19.1.1"], to=["172.20.0.0/16"]),
)
# From one to the next, each pod taking over from the one before.
ROLLOUTS: Final[dict[str, list[Json]]] = {
    "tighter-looser": [rules_only(*_OPEN), rules_only(*_TIGHT), rules_only(*_OPEN)],
    "nothing-all": [rules_only(), rules_only(ingress("1-65535"), egress("1-65535")), rules_only()],
    "scope": [
        rules_only(*_OPEN, scope="host"),
        rules_only(*_OPEN, scope="cluster"),
        rules_only(*_TIGHT, scope="host"),
        rules_only(*_NARROW, scope="cluster"),
    ],
    "mode": [
        rules_only(*_OPEN, mode="audit"),
        rules_only(*_TIGHT),
        rules_only(*_TIGHT, mode="audit"),
    ],
    "narrow": [rules_only(*_TIGHT), rules_only(*_NARROW), rules_only(*_OPEN)],
}


def steps(windows: FakeWindows, first: int, end: int) -> list[list[Record]]:
    """The rules before the first of some changes, and after each of them."""
    states = [[], *windows.states()]
    return states[first : end + 1]


@pytest.mark.parametrize("rollout", ROLLOUTS)
def test_a_pod_takes_over(windows: FakeWindows, tmp_path: Path, rollout: str) -> None:
    ends = [0]
    before: Json = rules_only(mode="audit")
    for number, policy in enumerate(ROLLOUTS[rollout]):
        # Its state outlives a killed agent, and so does what it applied.
        with Pod(windows, tmp_path, policy, uid=f"pod-{number}") as pod:
            pod.start()
            pod.wait_log("event=applied")
        ends.append(len(windows.changes()))
        assert ends[-1] > ends[-2]
        assert wavering(steps(windows, *ends[-2:]), edges(before, policy)) == []
        before = policy
    with pod:
        assert pod.pre_stop() == "removed"
    ends.append(len(windows.changes()))
    assert windows.records() == []
    assert wavering(steps(windows, *ends[-2:]), edges(before)) == []


def random_policies(number: int) -> list[Json]:
    """The same ones each time, the simplest of all among them."""
    found: list[Json] = []

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategies.values())
    def collect(values: Json) -> None:
        found.append(policy_json(strategies.merged(values)))

    collect()
    return found


# The steps of the agent without its start; prints how many changes there were after each policy.
_SWAPS: Final = """
foreach ($module in 'Firewall', 'Node', 'Compile') {
    Import-Module (Join-Path $env:AGENT "$module.psm1")
}
$owner = @{ Uid = 'pod'; Release = 'a/b'; Generation = 'g'; Interruption = {} }
$ends = foreach ($line in [System.IO.File]::ReadAllLines($env:POLICIES)) {
    $wanted = ConvertTo-FirewallRule -Policy (ConvertFrom-Json -InputObject $line)
    Sync-Firewall -Wanted $wanted -Seen (Get-FirewallState) @owner
    if (Get-Difference -Wanted $wanted -Seen (Get-FirewallState)) { throw 'not in force' }
    [System.IO.File]::ReadAllLines("$env:FAKE_WINDOWS.states").Length
}
Clear-Firewall -Seen (Get-FirewallState)
ConvertTo-Json -InputObject @($ends)
"""


def swap(windows: FakeWindows, folder: Path, policies: Sequence[Json]) -> list[int]:
    """Applies policies one after the other, then none; how many changes were made after each."""
    file = folder / "policies"
    file.write_text("".join(json.dumps(policy) + "\n" for policy in policies), encoding="utf-8")
    done = windows.pwsh(
        f"$ErrorActionPreference = 'Stop'{_SWAPS}",
        env={"AGENT": str(FILES), "POLICIES": str(file)},
        timeout=300,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [*json.loads(done.stdout), len(windows.changes())]


def check_swaps(windows: FakeWindows, policies: Sequence[Json], ends: Sequence[int]) -> None:
    numbers = random.Random(0)
    nothing = rules_only(mode="audit")
    for number, (before, after) in enumerate(
        zip([nothing, *policies], [*policies, nothing], strict=True)
    ):
        flows = edges(before, after)
        flows = numbers.sample(flows, min(len(flows), 1500))
        states = steps(windows, ends[number - 1] if number else 0, ends[number])
        assert wavering(states, flows) == [], (number, before, after)
    assert windows.records() == []


def test_random_policies(windows: FakeWindows, tmp_path: Path) -> None:
    policies = random_policies(40)
    assert sum(policy["mode"] == "enforce" for policy in policies) > 20
    check_swaps(windows, policies, swap(windows, tmp_path, policies))


def crowd(offset: int) -> Json:
    """So many rules that allow rules are coarse and block rules overlap."""
    return rules_only(
        *(
            rule(10000 + 10 * number + offset, **{end: [f"10.{number}.{offset}.0/24"]})
            for number in range(90)
            for rule, end in ((ingress, "from_"), (egress, "to"))
        )
    )


def test_crowded_policies(windows: FakeWindows, tmp_path: Path) -> None:
    policies = [crowd(0), crowd(1), rules_only(*_TIGHT), crowd(0)]
    check_swaps(windows, policies, swap(windows, tmp_path, policies))
