# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the tests with faults share: two policies, the calls that may fail, what is to hold after.

The calls are those of a run without a fault, so none is forgotten when the agent changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tests.windows.agents import CHANGES, Node
from tests.windows.flows import edges, wavering
from tests.windows.pod import Pod
from tests.windows.policies import egress, ingress, rules_only

Call = dict[str, Any]
Fault = dict[str, Any]

# Each has a block and an allow rule that the other one lacks.
OLD: Final = rules_only(ingress(514, from_=["10.0.0.0/8"]), egress(53))
NEW: Final = rules_only(
    ingress(514, from_=["10.1.0.0/16"]), ingress(7000), egress(53, to=["fd00::/8"])
)
FLOWS: Final = edges(OLD, NEW)
POLL: Final = 0.2  # seconds
# Asked between two passes; without it the poll goes on.
_EVENTS: Final = "Get-WinEvent"


def contents(node: Node) -> list[str]:
    """What the rules in force say, comparable between nodes."""
    # Neither its name nor the pod that made it is what a rule does.
    plain = {"Name": "", "Description": ""}
    return sorted(json.dumps({**record, **plain}, sort_keys=True) for record in node.rules())


def wait_in_force(node: Node, pod: Pod, wanted: list[str]) -> None:
    """Waits until the firewall holds these rules and nothing else, and the pod owns the node."""
    pod.wait_for(
        lambda: (contents(node), node.owner()) == (wanted, pod.uid) and _journaled(node),
        "in force",
    )


def _journaled(node: Node) -> bool:
    """Whether the journal has the last change, which it gets a moment after the firewall."""
    *_, last = node.windows.states()
    return {r["Name"] for r in last} == {r["Name"] for r in node.windows.records()}


def assert_closed(node: Node, since: int) -> None:
    """After the first so many changes, none passed or denied a flow that wasn't so before them
    and isn't so now."""
    states = [[], *node.windows.states()][since:]
    assert wavering(states, FLOWS) == []


def calls_after(node: Node, number: int) -> list[Call]:
    """The calls behind the first so many until the last that changes something."""
    calls = [call for call in node.windows.calls()[number:] if call["cmdlet"] != _EVENTS]
    last = max(i for i, call in enumerate(calls) if call["cmdlet"] in CHANGES)
    return calls[: last + 1]


def each_call(calls: Iterable[Call], *cmdlets: str, **more: Any) -> list[Fault]:
    """One fault for each of these calls, or for those of these cmdlets."""
    seen: dict[str, int] = {}
    faults = []
    for call in calls:
        cmdlet = call["cmdlet"]
        seen[cmdlet] = seen.get(cmdlet, 0) + 1
        if not cmdlets or cmdlet in cmdlets:
            text = f"{cmdlet} fails at call {seen[cmdlet]}."
            faults.append({"cmdlet": cmdlet, "call": seen[cmdlet], "message": text, **more})
    assert faults
    return faults


def assert_said_once(pod: Pod, fault: Fault) -> None:
    """One line of the log has the fault's message; the agent lives on."""
    said = pod.said("not-applied") + pod.said("no-firewall")
    assert [fault["message"] in line for line in said].count(True) == 1, (fault, pod.log)
    assert pod.running


def restored(node: Node, records: Iterable[Mapping[str, Any]]) -> None:
    """Gives the node's firewall these rules of another one, as a dead pod leaves them."""
    node.windows.add_many(dict(record) for record in records)


def edited_rule(action: str) -> Callable[[Node], None]:
    """Changes one of our rules by hand."""

    def edit(node: Node) -> None:
        rules = [record for record in node.rules() if record["Action"] == action]
        node.windows.edit(max(rules, key=_length)["Name"], Profile="Domain")

    return edit


def nothing_left(node: Node) -> None:
    """Somebody resets the firewall. The rules of others come back, and are none of ours."""
    others = [record for record in node.windows.records() if record not in node.ours()]
    node.windows.delete_all()
    node.windows.add_many(others)


# The first change of each makes it what it is.
DAMAGES: Final[dict[str, Callable[[Node], None]]] = {
    "nothing-left": nothing_left,
    "edited-block": edited_rule("Block"),
    "edited-allow": edited_rule("Allow"),
}


def heal(node: Node, pod: Pod, damage: str) -> None:
    """Does damage, and waits until it is healed."""
    heals = len(pod.said("healed"))
    DAMAGES[damage](node)
    pod.wait_said("healed", heals + 1)


def calls_of_heal(node: Node, pod: Pod, damage: str) -> list[Call]:
    """All calls of the pass that heals this damage."""
    first = len(node.windows.calls())
    heal(node, pod, damage)
    # After the pass the agent looks for events.
    node.wait_looks(pod)
    calls = node.windows.calls()[first:]
    last = max(i for i, call in enumerate(calls) if call["cmdlet"] in CHANGES)
    begins = [i for i in range(last) if calls[i]["parameters"].get("Name") == ["mpssvc"]]
    ends = [i for i in range(last, len(calls)) if calls[i]["cmdlet"] == _EVENTS]
    tidy(node, pod, damage)
    return calls[begins[-1] : ends[0]]


def tidy(node: Node, pod: Pod, damage: str) -> None:
    """Brings back the rules' first names: a rule whose name was taken has got a longer one, and the
    next heal after that has fewer calls."""
    while len({_length(record) for record in node.rules()}) > 1:
        # The firewall is right a moment before the agent logs that it is.
        node.wait_looks(pod)
        heal(node, pod, damage)


def _length(record: Mapping[str, Any]) -> int:
    return len(record["Name"])
