# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What a policy says about one flow, with all that a person wants to know of it, and its text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from udp_security.cli.nearest import NearMiss, nearest
from udp_security.cli.path import (
    NODE_PORTS,
    Outcome,
    Packet,
    Plane,
    Step,
    linux_path,
    local_path,
    ungoverned_path,
)
from udp_security.cli.windows_path import windows_path
from udp_security.policy import Decision, Flow, Policy, decide
from udp_security.policy.model import OperatingSystem, canonical
from udp_security.policy.oracle import contains, is_loopback

_WIDTH: Final = 80
# Of a mark and of a hook, with the blanks behind them.
_INDENT: Final = 4
_HOOK: Final = 13
_MARKS: Final[dict[Outcome, tuple[str, str]]] = {
    "passes": (" ", ""),
    "accepts": (">", "bold green"),
    "denies": ("x", "bold red"),
    "would deny": ("!", "bold yellow"),
    "not reached": ("-", "dim"),
}


@dataclass(frozen=True)
class Explanation:
    """A decision, the rules that nearly allow the flow, what else is to be known, and the path."""

    system: OperatingSystem
    policy: Policy
    enabled: bool
    flow: Flow
    decision: Decision
    misses: Sequence[NearMiss]
    notes: Sequence[str]
    path: Sequence[Step]


def explained(
    policy: Policy,
    flow: Flow,
    system: OperatingSystem,
    plane: Plane | None,
    *,
    enabled: bool = True,
    by_mark: bool = False,
) -> Explanation:
    """`plane` is a Linux node's. `enabled`: an agent runs there. `by_mark`: see Packet."""
    decision = decide(policy, flow)
    if not enabled or _is_own(flow):
        decision = Decision("allow", judged=False, rules=())
    notes = []
    if not enabled:
        notes.append(
            f"{system}.enabled is false: no agent runs on {system.capitalize()} nodes, so nothing "
            "is denied"
        )
    notes += _local_notes(flow, system)
    notes += _linux_notes(policy, flow) if system == "linux" else _windows_notes(policy, flow)
    left_alone = not decision.judged or policy.mode == "audit"
    if system == "windows" and flow.direction == "ingress" and left_alone and not is_local(flow):
        notes.append(
            "Windows' own rules and default decide about this inbound flow: it is closed unless "
            "another rule of the host allows it"
        )
    if not enabled:
        path = ungoverned_path(flow.direction)
    elif is_local(flow):
        path = local_path(system)
    elif plane is None:
        path = windows_path(Packet(policy, flow, decision))
    else:
        path = linux_path(Packet(policy, flow, decision, by_mark), plane)
    misses = nearest(policy.rules, flow) if decision.verdict == "deny" else []
    return Explanation(system, policy, enabled, flow, decision, misses, notes, path)


def is_local(flow: Flow) -> bool:
    """Whether the flow never leaves the node."""
    return is_loopback(flow) or _is_own(flow)


def _is_own(flow: Flow) -> bool:
    """Whether a node talks to itself by one of its own addresses."""
    return flow.source == flow.destination and flow.direction != "forward"


def _local_notes(flow: Flow, system: OperatingSystem) -> list[str]:
    if is_loopback(flow):
        return ["loopback traffic always passes"]
    if _is_own(flow):
        way = "goes over lo" if system == "linux" else "is loopback traffic"
        return [f"traffic between a node's own addresses {way} and is never judged"]
    return []


def _linux_notes(policy: Policy, flow: Flow) -> list[str]:
    notes = [
        f"{flow.destination} is a service address ({canonical(net)}), which a Linux node has "
        "replaced by a pod's before the policy judges the flow (use the pod's address and port)"
        for net in policy.cluster.services
        if contains([net], flow.destination)
    ]
    if flow.port in NODE_PORTS and flow.direction != "egress":
        notes.append(
            f"if {flow.port} is a NodePort, the policy judges the pod's address and port instead "
            "(direction forward), on this node and on the pod's"
        )
    return notes


def _windows_notes(policy: Policy, flow: Flow) -> list[str]:
    if flow.direction == "egress" and contains(policy.cluster.pods, flow.destination):
        return [
            f"{flow.destination} is a pod's address: where the host asks a service instead, the "
            "policy judges the service's address and port"
        ]
    return []


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The object of `explain -o json`."""
    return {
        "verdict": explanation.decision.verdict,
        "judged": explanation.decision.judged,
        "mode": explanation.policy.mode,
        "flow": _flow_as_json(explanation.flow, explanation.system),
        "rules": [rule.name for rule in explanation.decision.rules],
        "nearest": [{"rule": miss.rule.name, "why": list(miss.why)} for miss in explanation.misses],
        "notes": list(explanation.notes),
        "path": [
            {"hook": step.hook, "step": step.says, "outcome": step.outcome}
            for step in explanation.path
        ],
    }


def nothing(flow: Flow, system: OperatingSystem) -> dict[str, Any]:
    """The same where no policy is known."""
    unknown = dict.fromkeys(("verdict", "judged", "mode"))
    lists: dict[str, Any] = {name: [] for name in ("rules", "nearest", "notes", "path")}
    return {**unknown, "flow": _flow_as_json(flow, system), **lists}


def _flow_as_json(flow: Flow, system: OperatingSystem) -> dict[str, Any]:
    return {
        "direction": flow.direction,
        "from": str(flow.source),
        "to": str(flow.destination),
        "port": flow.port,
        "os": system,
    }


def print_verdict(explanation: Explanation, to: Console) -> None:
    """Allowed or denied, in a line."""
    to.print(_verdict(explanation))


def print_reasons(explanation: Explanation, asides: Sequence[str], to: Console) -> None:
    """The rules that allow the flow, each with what is to be said beside it, or the nearest."""
    rules = explanation.decision.rules
    if rules:
        to.print("Allowed by:")
        width = max(len(rule.name) for rule in rules)
        for rule, aside in zip(rules, asides, strict=True):
            to.print(f"  {rule.name:<{width}}  {aside}".rstrip())
    if explanation.misses:
        to.print("Nearest rules:")
        width = max(len(miss.rule.name) for miss in explanation.misses)
        for miss in explanation.misses:
            to.print(f"  {miss.rule.name:<{width}}  {'; '.join(miss.why)}")
    elif explanation.decision.verdict == "deny":
        to.print(f"There are no rules for IPv{explanation.flow.source.version}.")


def print_notes(notes: Sequence[str], to: Console) -> None:
    """What else is to be known."""
    for note in notes:
        to.print(f"Note: {note}")


def print_path(title: str, path: Sequence[Step], to: Console) -> None:
    """The steps, a line each if it fits. What is behind a denial is one line, if any."""
    to.print(f"{title}:")
    shown = [step for step in path if step.outcome != "not reached"]
    last = path[-1]
    if last not in shown:
        shown.append(Step(last.hook, f"not reached: {last.says}", last.outcome))
    for step, before in zip(shown, [None, *shown], strict=False):
        mark, style = _MARKS[step.outcome]
        hook = "" if before and before.hook == step.hook else step.hook
        first, *more = textwrap.wrap(
            step.says, _WIDTH - _INDENT - _HOOK, break_long_words=False, break_on_hyphens=False
        )
        to.print(Text(f"  {mark} {hook:<{_HOOK}}{first}", style=style))
        for line in more:
            to.print(Text(" " * (_INDENT + _HOOK) + line, style=style))


def plain(description: str) -> str:
    """A description behind a rule's name, on one line whatever the user wrote."""
    text = " ".join(description.split())
    return f"({''.join(filter(str.isprintable, text))})" if text else ""


def _verdict(explanation: Explanation) -> Text:
    policy, decision, system = explanation.policy, explanation.decision, explanation.system
    if not decision.judged:
        if is_local(explanation.flow):
            reason = "loopback"
        elif not explanation.enabled:
            reason = f"no agent on {system.capitalize()} nodes"
        else:
            reason = f"outside the policy's scope ({policy.scope})"
        return Text.assemble(("ALLOW", "bold green"), f": not judged: {reason}")
    if decision.verdict == "allow":
        return Text.assemble(("ALLOW", "bold green"))
    if policy.mode == "audit":
        fate = "passes and is counted" if system == "linux" else "Windows gets no rules for that"
        return Text.assemble(
            ("DENY", "bold yellow"),
            f": no rule allows it; it would be denied, but {fate} (mode audit)",
        )
    action: str = policy.deny_action
    if system == "windows" and action == "reject":
        action = "drop, as Windows cannot reject"
    return Text.assemble(("DENY", "bold red"), f": no rule allows it ({action})")
