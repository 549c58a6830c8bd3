# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the Windows agent's tests are written in: a node with pods, and what its firewall holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tests import strategies
from tests.windows.flows import admitted, edges
from tests.windows.pod import Pod
from tests.windows.policies import policy_json
from tests.windows.windows import FakeWindows, Record

GROUP: Final = "udp-security"
OWNER_MARK: Final = "udp-security-owner"
STANDBY_MARK: Final = "udp-security-standby-"
CHANGES: Final = ("New-NetFirewallRule", "Set-NetFirewallRule", "Remove-NetFirewallRule")
_OWNER: Final = re.compile(r"owner=(\S*) release=\S+ generation=[0-9a-f]{12}")


def policy(**values: Any) -> dict[str, Any]:
    """policy.json of a user's values, without presets: the fewer rules, the faster the tests."""
    return policy_json(
        strategies.merged(
            {
                "presets": dict.fromkeys(strategies.PRESETS, False),
                "dangerouslyCutOff": list(strategies.LIFELINES),
                "cluster": {"podCIDRs": ["172.20.0.0/16", "fd00:1::/48"]},
                "rules": _RULES,
                **values,
            }
        )
    )


# Both families, ingress and egress, a rule for some of the node's addresses only.
_RULES: Final[list[dict[str, Any]]] = [
    {
        "name": "logs",
        "direction": "ingress",
        "ports": [7000],
        "from": ["172.20.0.0/17", "fd00::/8"],
    },
    {"name": "vip", "direction": "ingress", "ports": ["7100-7199"], "to": ["172.19.1.1"]},
    {
        "name": "sink",
        "direction": "egress",
        "ports": [7001],
        "to": ["172.20.1.0/24", "fd00:1::/64"],
    },
]
POLICY: Final = policy()
ANOTHER_POLICY: Final = policy(
    rules=[{"name": "other", "direction": "ingress", "ports": [7000, 7002]}, _RULES[2]],
    windows={"scope": "host"},
)
AUDIT: Final = policy(mode="audit")
REFUSED: Final = policy(cluster={"nodeCIDRs": ["192.0.2.0/24"]})
# Compiled, it has more than sixty rules: to write them takes a noticeable time.
LARGE: Final = policy(
    rules=[
        {
            "name": f"ward-{number}",
            "direction": "ingress",
            "ports": [10000 + number],
            "from": [f"172.20.{number}.0/24"],
        }
        for number in range(60)
    ]
)


class Node:
    """A Windows node and its pods, by default with a rule of somebody else's.

    At the end its agents are killed; that rule must be as before, the logs in good order.
    """

    def __init__(self, windows: FakeWindows, directory: Path, *, foreign: bool = True) -> None:
        self.windows = windows
        self._directory = directory
        self._pods: list[Pod] = []
        if foreign:
            windows.add("theirs", Group="somebody", Protocol="UDP", LocalPort=["7"], Action="Allow")
        self._foreign = self._others()

    def __enter__(self) -> Node:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pod in self._pods:
            pod.kill()
        if kind is None:
            assert self._others() == self._foreign
            for pod in self._pods:
                pod.said("")

    def pod(self, policy: Mapping[str, Any] = POLICY, **settings: Any) -> Pod:
        """A pod that is not started yet; ``settings`` are Pod's."""
        uid = f"pod-{len(self._pods) + 1}"
        pod = Pod(self.windows, self._directory, policy, uid=uid, **settings)
        self._pods.append(pod)
        return pod

    def start(self, policy: Mapping[str, Any] = POLICY, **settings: Any) -> Pod:
        """A pod whose policy is in force."""
        pod = self.pod(policy, **settings)
        pod.start()
        pod.wait_said("applied")
        return pod

    def ours(self) -> list[Record]:
        """All rules of our group."""
        return [record for record in self.windows.records() if record["Group"] == GROUP]

    def rules(self) -> list[Record]:
        """The rules of our group that are no marks."""
        marks = (OWNER_MARK, STANDBY_MARK)
        return [record for record in self.ours() if not record["Name"].startswith(marks)]

    def says(self) -> list[str]:
        """What our rules and marks say, to compare: a healed rule may have another name."""
        return sorted(json.dumps({**record, "Name": ""}, sort_keys=True) for record in self.ours())

    def owner(self) -> str | None:
        """The uid of the node's owner: empty for nobody, None where there is no mark."""
        for record in self.ours():
            if record["Name"] == OWNER_MARK:
                assert record["Enabled"] == "False"
                mark = _OWNER.fullmatch(record["Description"])
                assert mark, record
                return mark[1]
        return None

    def standbys(self) -> list[str]:
        """The uids of the pods that announce that they would take the node over."""
        names = [record["Name"] for record in self.ours()]
        return [name[len(STANDBY_MARK) :] for name in names if name.startswith(STANDBY_MARK)]

    def looks(self, pod: Pod) -> int:
        """How often the pod's running agent has looked at the rules."""
        calls = self.windows.calls("Get-NetFirewallRule")
        return sum(call["pid"] == pod.pid for call in calls)

    def wait_looks(self, pod: Pod, times: int = 2) -> None:
        """Waits for further looks; of two, the second one began after this."""
        before = self.looks(pod)
        pod.wait_for(lambda: self.looks(pod) >= before + times, f"{times} more looks")

    def wait_standby(self, pod: Pod) -> None:
        """Waits until the pod knows that it was superseded, and announces itself."""
        pod.wait_said("superseded")
        pod.wait_for(lambda: pod.uid in self.standbys(), "standby mark")

    @contextmanager
    def never_open(self, *policies: Mapping[str, Any]) -> Iterator[None]:
        """What is denied before and after, is denied after each change between.

        The flows are those at the edges of these policies.
        """
        flows = edges(*policies)
        changes = len(self.windows.changes())
        before = admitted(self.windows.firewall(), flows)
        yield
        after = admitted(self.windows.firewall(), flows)
        for state in islice(self.windows.states(), changes, None):
            assert admitted(self.windows.firewall(state), flows) <= before | after

    def _others(self) -> list[Record]:
        return [record for record in self.windows.records() if record["Group"] != GROUP]
