# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What somebody does by hand to the rules is undone, seconds later: the event log tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

import pytest
from tests.windows.agents import CHANGES, GROUP, OWNER_MARK, STANDBY_MARK, Node
from tests.windows.pod import Pod
from tests.windows.windows import FakeWindows

# Far less than the minute between two polls; the agent looks at the event log every two seconds.
SOON: Final = 15


def first(node: Node, action: str, direction: str = "Inbound") -> str:
    """The name of the first of our rules of this kind."""
    return next(
        str(record["Name"])
        for record in node.rules()
        if (record["Action"], record["Direction"]) == (action, direction)
    )


DAMAGES: Final[dict[str, Callable[[Node], None]]] = {
    "inbound-block-deleted": lambda n: n.windows.delete(first(n, "Block")),
    "outbound-block-deleted": lambda n: n.windows.delete(first(n, "Block", "Outbound")),
    "allow-deleted": lambda n: n.windows.delete(first(n, "Allow")),
    "disabled": lambda n: n.windows.edit(first(n, "Block"), Enabled="False"),
    "turned-around": lambda n: n.windows.edit(first(n, "Block"), Action="Allow"),
    "other-ports": lambda n: n.windows.edit(first(n, "Block"), LocalPort=["9"]),
    "other-addresses": lambda n: n.windows.edit(first(n, "Block"), RemoteAddress=["192.0.2.1"]),
    "for-one-program": lambda n: n.windows.edit(first(n, "Block"), Program=r"C:\mine.exe"),
    "allow-added": lambda n: n.windows.add("mine", Group=GROUP, Protocol="UDP"),
    "mark-deleted": lambda n: n.windows.delete(OWNER_MARK),
    "mark-unreadable": lambda n: n.windows.edit(OWNER_MARK, Description="mine"),
    "all-of-the-computer-deleted": lambda n: n.windows.delete_all(),
    "allow-that-poses-as-a-mark": lambda n: n.windows.add(
        STANDBY_MARK + "mine", Group=GROUP, Protocol="UDP"
    ),
}


@pytest.fixture(scope="module")
def kept(pwsh: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Pod]]:
    """A node and the pod that keeps it, for all damages one after another."""
    directory = tmp_path_factory.mktemp("node")
    with Node(FakeWindows(directory), directory, foreign=False) as node:
        yield node, node.start()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_undone_soon_and_said_once(kept: tuple[Node, Pod], damage: str) -> None:
    node, pod = kept
    says, healed = node.says(), len(pod.said("healed"))
    DAMAGES[damage](node)
    told = pod.wait_said("healed", times=healed + 1, seconds=SOON)
    assert node.says() == says
    assert len(told) == healed + 1
    assert "undone: " in told[-1]


def test_a_rule_taken_into_another_group_is_somebody_elses(kept: tuple[Node, Pod]) -> None:
    """It is not removed, as it bears another name; ours is there again beside it."""
    node, pod = kept
    says, healed = node.says(), len(pod.said("healed"))
    name = first(node, "Block")
    node.windows.edit(name, Group="mine")
    pod.wait_said("healed", times=healed + 1, seconds=SOON)
    assert node.says() == says
    node.windows.delete(name)


def test_heals_are_counted(kept: tuple[Node, Pod]) -> None:
    node, pod = kept
    healed = len(pod.said("healed"))
    node.windows.delete(first(node, "Allow"))
    pod.wait_said("healed", times=healed + 1, seconds=SOON)
    status = pod.status()
    assert (status["healthy"], status["heals"]) == (True, healed + 1)


def test_changes_of_others_are_none_of_its_business(node: Node) -> None:
    pod = node.start()
    changes = len(node.windows.changes())
    node.windows.add("mine", Group="mine", Protocol="UDP")
    node.windows.edit("mine", Enabled="False")
    node.wait_looks(pod, 1)
    node.windows.delete("mine")
    node.wait_looks(pod, 1)
    assert len(node.windows.changes()) == changes + 3
    assert pod.said("healed") == []


def test_without_the_event_log_the_poll_heals(node: Node) -> None:
    node.windows.set_faults(
        *({"cmdlet": "Get-WinEvent", "call": n, "message": "denied"} for n in range(1, 200))
    )
    pod = node.start(poll_seconds=1)
    says = node.says()
    (told,) = pod.wait_said("no-events")
    assert "the poll goes on" in told and "denied" in told
    for times in (1, 2):
        node.windows.delete(first(node, "Block"))
        pod.wait_said("healed", times=times, seconds=SOON)
        assert node.says() == says
    assert len(pod.said("no-events")) == 1


def test_nothing_opens_while_it_heals(node: Node) -> None:
    """A changed block still blocks something until the right one is there."""
    pod = node.start()
    name = first(node, "Block")
    changes = len(node.windows.changes())
    node.windows.edit(name, Profile="Public")
    pod.wait_said("healed", seconds=SOON)
    blocks = [
        {record["Name"] for record in state if record["Action"] == "Block"}
        for state in islice(node.windows.states(), changes, None)
    ]
    assert blocks[1] > blocks[0]
    calls = [call["cmdlet"] for call in node.windows.calls(*CHANGES)]
    assert calls[-2:] == ["New-NetFirewallRule", "Remove-NetFirewallRule"]
