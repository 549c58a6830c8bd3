# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security explain`: what the policy does with one flow, and which rules say so."""

import ipaddress
import json
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Any

import click
from rich.text import Text

from udp_security.cli.errors import debug_option
from udp_security.cli.inputs import (
    console,
    output_option,
    print_problems_as_json,
    print_problems_to_stderr,
    require_valid,
    values_options,
)
from udp_security.cli.nearest import NearMiss, nearest
from udp_security.policy import Decision, Flow, Policy, decide
from udp_security.policy.model import SYSTEMS, Address, Direction, OperatingSystem, networks
from udp_security.policy.oracle import contains, is_loopback

_NODE_PORTS = range(30000, 32768)

_EPILOG = """\b
Examples:
  udp-security explain -f values.yaml --direction ingress \\
      --from 10.0.0.7 --to 172.19.1.100 --port 514
  udp-security explain --direction forward --from 172.20.0.5 \\
      --to 172.20.1.9 --port 53 -o json
  udp-security explain --os windows --direction egress \\
      --from 172.19.1.1 --to 172.21.0.10 --port 53

\b
Exit status: 0 explained (allowed or denied), 1 invalid values, 2 wrong usage."""


def _address(_: click.Context, __: click.Parameter, value: str) -> Address:
    """An option's value as an address; the reasons why not are for people who paste."""
    if "/" in value:
        raise click.BadParameter(f"{value!r} is a network (write one address)")
    if "%" in value:
        raise click.BadParameter(f"{value!r} has a zone (leave out % and what follows)")
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not an IPv4 or IPv6 address (write it as in 10.1.2.3 or fd00::7; "
            "names are not looked up)"
        ) from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        raise click.BadParameter(
            f"{value!r} is an IPv4-mapped IPv6 address (write {address.ipv4_mapped})"
        )
    return address


def _port(_: click.Context, __: click.Parameter, value: str) -> int:
    """An option's value as a port."""
    if not (value.isascii() and value.isdecimal() and 1 <= int(value[:9]) <= 65535):
        raise click.BadParameter(f"{value!r} is not a port (write a number from 1 to 65535)")
    return int(value)


@click.command(epilog=_EPILOG)
@values_options
@click.option(
    "--direction",
    type=click.Choice(["ingress", "egress", "forward"]),
    required=True,
    help="To the node itself, from it, or through it (pods).",
)
@click.option(
    "--from",
    "source",
    metavar="ADDRESS",
    required=True,
    callback=_address,
    help="The flow's source.",
)
@click.option(
    "--to",
    "destination",
    metavar="ADDRESS",
    required=True,
    callback=_address,
    help="Its destination.",
)
@click.option("--port", metavar="PORT", required=True, callback=_port, help="Its destination port.")
@click.option(
    "--os",
    "system",
    type=click.Choice(SYSTEMS),
    default="linux",
    show_default=True,
    help="The node's operating system.",
)
@output_option
@debug_option
def explain(
    files: tuple[str, ...],
    settings: tuple[str, ...],
    direction: Direction,
    source: Address,
    destination: Address,
    port: int,
    system: OperatingSystem,
    output: str,
) -> None:
    """Say whether the policy allows a UDP flow, and why.

    A flow is named by its first packet: replies need no rule. The port is the flow's destination
    port. On Linux, destination and port are those after the translation of service addresses
    (DNAT): a pod and its port, not a service and its port. On Windows they are those that the
    host's process used, and only the host's own flows are judged, not those of its pods.

    A service reached through a NodePort on another node is judged on both nodes, and the second
    one sees the first one's address as the source.
    """
    if source.version != destination.version:
        raise click.UsageError(
            f"--from {source} and --to {destination} are of different address families "
            "(write two IPv4 or two IPv6 addresses)"
        )
    if system == "windows" and direction == "forward":
        raise click.UsageError(
            "--direction forward never happens on a Windows host, whose pods no policy governs "
            "(use ingress or egress for the host's own traffic, or --os linux)"
        )
    report = print_problems_as_json if output == "json" else print_problems_to_stderr
    values = require_valid(files, settings, report).merged
    policy = Policy.from_values(values, os=system)
    flow = Flow(direction, source, destination, port)
    decision = decide(policy, flow)
    if _is_own(flow):
        decision = Decision("allow", judged=False, rules=())
    misses = nearest(policy.rules, flow) if decision.verdict == "deny" else []
    notes = _notes(values, flow, system)
    left_alone = not decision.judged or policy.mode == "audit"
    if system == "windows" and direction == "ingress" and left_alone and not _is_local(flow):
        notes.append(
            "Windows' own rules and default decide about this inbound flow: it is closed unless "
            "another rule of the host allows it"
        )
    if output == "json":
        _print_json(policy, flow, system, decision, misses, notes)
    else:
        _print_text(policy, flow, system, decision, misses, notes)


def _notes(values: Mapping[str, Any], flow: Flow, system: OperatingSystem) -> list[str]:
    notes: list[str] = []
    if not values[system]["enabled"]:
        notes.append(
            f"{system}.enabled is false: no agent runs on {system.capitalize()} nodes, so nothing "
            "is denied"
        )
    if is_loopback(flow):
        notes.append("loopback traffic always passes")
    elif _is_own(flow):
        way = "goes over lo" if system == "linux" else "is loopback traffic"
        notes.append(f"traffic between a node's own addresses {way} and is never judged")
    return notes + (_linux_notes if system == "linux" else _windows_notes)(values["cluster"], flow)


def _is_own(flow: Flow) -> bool:
    """Whether a node talks to itself by one of its own addresses."""
    return flow.source == flow.destination and flow.direction != "forward"


def _is_local(flow: Flow) -> bool:
    """Whether the flow never leaves the node."""
    return is_loopback(flow) or _is_own(flow)


def _linux_notes(cluster: Mapping[str, Any], flow: Flow) -> list[str]:
    notes = [
        f"{flow.destination} is a service address ({cidr}), which a Linux node has replaced by a "
        "pod's before the policy judges the flow (use the pod's address and port)"
        for cidr in cluster["serviceCIDRs"]
        if contains(networks([cidr]), flow.destination)
    ]
    if flow.port in _NODE_PORTS and flow.direction != "egress":
        notes.append(
            f"if {flow.port} is a NodePort, the policy judges the pod's address and port instead "
            "(direction forward), on this node and on the pod's"
        )
    return notes


def _windows_notes(cluster: Mapping[str, Any], flow: Flow) -> list[str]:
    pods = networks(cluster["podCIDRs"])
    if flow.direction == "egress" and contains(pods, flow.destination):
        return [
            f"{flow.destination} is a pod's address: where the host asks a service instead, the "
            "policy judges the service's address and port"
        ]
    return []


def _print_json(
    policy: Policy,
    flow: Flow,
    system: OperatingSystem,
    decision: Decision,
    misses: list[NearMiss],
    notes: list[str],
) -> None:
    result = {
        "verdict": decision.verdict,
        "judged": decision.judged,
        "mode": policy.mode,
        "flow": {
            "direction": flow.direction,
            "from": str(flow.source),
            "to": str(flow.destination),
            "port": flow.port,
            "os": system,
        },
        "rules": [rule.name for rule in decision.rules],
        "nearest": [{"rule": miss.rule.name, "why": list(miss.why)} for miss in misses],
        "notes": notes,
    }
    click.echo(json.dumps(result, indent=2, ensure_ascii=False))


def _print_text(
    policy: Policy,
    flow: Flow,
    system: OperatingSystem,
    decision: Decision,
    misses: list[NearMiss],
    notes: list[str],
) -> None:
    line = console().print
    line(f"{flow.direction} {flow.source} -> {flow.destination} UDP port {flow.port}, {system}")
    line(_verdict(policy, flow, system, decision))
    if decision.rules:
        line("Allowed by:")
        for rule in decision.rules:
            line(f"  {rule.name}{_aside(rule.description)}")
    if misses:
        line("Nearest rules:")
        width = max(len(miss.rule.name) for miss in misses)
        for miss in misses:
            line(f"  {miss.rule.name:<{width}}  {'; '.join(miss.why)}")
    elif decision.verdict == "deny":
        line(f"There are no rules for IPv{flow.source.version}.")
    for note in notes:
        line(f"Note: {note}")


def _aside(description: str) -> str:
    """A description behind a rule's name, on one line whatever the user wrote."""
    text = " ".join(description.split())
    return f"  ({''.join(filter(str.isprintable, text))})" if text else ""


def _verdict(policy: Policy, flow: Flow, system: OperatingSystem, decision: Decision) -> Text:
    if not decision.judged:
        scope = f"outside the policy's scope ({policy.scope})"
        reason = "loopback" if _is_local(flow) else scope
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
