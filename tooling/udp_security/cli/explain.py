# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security explain`: what becomes of one flow, why, and on which way through the node."""

from __future__ import annotations

import ipaddress
import json
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

import click

from udp_security.cli import explanation, live_flow
from udp_security.cli.cluster import cluster_options, in_cluster, timeout_option
from udp_security.cli.errors import INVALID, debug_option
from udp_security.cli.inputs import (
    console,
    output_option,
    print_problems_as_json,
    print_problems_to_stderr,
    require_valid,
    values_options,
)
from udp_security.cli.path import Plane
from udp_security.cli.patience import say
from udp_security.policy import Flow, Policy
from udp_security.policy.model import SYSTEMS, Address, Direction, OperatingSystem

if TYPE_CHECKING:
    from udp_security.cluster.flow import LiveFlow

_EPILOG = """\b
The path is every hook on the packet's way in order; > accepts it, x denies
it, ! would deny it (mode audit), - is not reached.

\b
Examples:
  udp-security explain -f values.yaml --direction ingress \\
      --from 10.0.0.7 --to 172.19.1.100 --port 514
  udp-security explain --direction forward --from 172.20.0.5 \\
      --to 172.20.1.9 --port 53 -o json
  udp-security explain --os windows --direction egress \\
      --from 172.19.1.1 --to 172.21.0.10 --port 53
  udp-security explain --live --node linux-a --direction ingress \\
      --from 10.0.0.7 --to 172.19.1.100 --port 514

\b
Exit status: 0 explained (allowed or denied), 1 invalid values, or no policy
is in force on the node or it can't be asked, 2 wrong usage or no access to
the cluster."""


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
    help="The node's operating system; linux by default.",
)
@click.option("--live", is_flag=True, help="Ask a node of a running cluster, not values.")
@click.option("--node", metavar="NAME", help="With --live: the node.")
@timeout_option(10, "With --live: how long the node's agent may take to answer.")
@cluster_options
@output_option
@debug_option
def explain(
    files: tuple[str, ...],
    settings: tuple[str, ...],
    direction: Direction,
    source: Address,
    destination: Address,
    port: int,
    system: OperatingSystem | None,
    live: bool,
    node: str | None,
    timeout: int,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Say whether the policy allows a UDP flow, why, and where it ends.

    A flow is named by its first packet: replies need no rule. The port is the flow's destination
    port. On Linux, destination and port are those after the translation of service addresses
    (DNAT): a pod and its port, not a service and its port. On Windows they are those that the
    host's process used, and only the host's own flows are judged, not those of its pods.

    A service reached through a NodePort on another node is judged on both nodes, and the second
    one sees the first one's address as the source.

    With --live it is the policy that is in force on one node, with what the node has counted, what
    it denied of this flow, and whether the flow's verdict is cached in conntrack.
    """
    if source.version != destination.version:
        raise click.UsageError(
            f"--from {source} and --to {destination} are of different address families "
            "(write two IPv4 or two IPv6 addresses)"
        )
    flow = Flow(direction, source, destination, port)
    if live:
        if node is None:
            raise click.UsageError("--live asks one node (say which with --node)")
        if files or settings or system:
            raise click.UsageError(
                "--live explains what a node has in force (leave out -f, --set and --os)"
            )
        _explain_live(flow, node, timeout, kubeconfig, context, output)
        return
    if node or kubeconfig or context:
        raise click.UsageError("--node, --kubeconfig and --context are for --live")
    system = system or "linux"
    _refuse_impossible(flow, system, "or --os linux")
    report = print_problems_as_json if output == "json" else print_problems_to_stderr
    values = require_valid(files, settings, report).merged
    plane = Plane.from_values(values) if system == "linux" else None
    policy = Policy.from_values(values, os=system)
    enabled = values[system]["enabled"]
    found = explanation.explained(policy, flow, system, plane, enabled=enabled)
    if output == "json":
        _print_json(explanation.as_json(found))
        return
    to = console()
    to.print(_flow(flow, system))
    explanation.print_verdict(found, to)
    rules = found.decision.rules
    explanation.print_reasons(found, [explanation.plain(rule.description) for rule in rules], to)
    explanation.print_notes(found.notes, to)
    backend = f" ({plane.backend})" if plane and enabled else ""
    explanation.print_path(f"Path on a {system.capitalize()} node{backend}", found.path, to)


def _explain_live(
    flow: Flow, node: str, timeout: int, kubeconfig: str | None, context: str | None, output: str
) -> None:
    # Imported here since they are slow and few commands need them.
    from udp_security.cluster.client import Client  # noqa: PLC0415
    from udp_security.cluster.conntrack import MOST  # noqa: PLC0415
    from udp_security.cluster.flow import NoSuchNodeError, flow_on  # noqa: PLC0415

    async def work() -> LiveFlow:
        async with Client(kubeconfig, context) as client:
            try:
                return await flow_on(client, node, flow, timeout)
            except NoSuchNodeError as error:
                raise click.UsageError(str(error)) from error

    say(f"asking node {node}")
    live = in_cluster(work())
    _refuse_impossible(flow, live.os, "or another node")
    found = None
    if live.policy:
        backend = live.told.backend if live.told else None
        plane = Plane.from_facts(live.facts, backend) if live.facts else None
        by_mark = flow.direction in live.cached_as
        found = explanation.explained(live.policy, flow, live.os, plane, by_mark=by_mark)
    decision = found.decision if found else None
    if output == "json":
        answer = explanation.as_json(found) if found else explanation.nothing(flow, live.os)
        _print_json({**answer, "live": live_flow.as_json(live, flow, decision, MOST)})
    else:
        to = console()
        to.print(f"{_flow(flow, live.os)}, node {node}")
        for line in live_flow.headlines(live):
            to.print(line, style="bold yellow")
        if found:
            explanation.print_verdict(found, to)
            asides = live_flow.asides(live, found.decision)
            explanation.print_reasons(found, asides, to)
        for line in live_flow.lines(live, flow, MOST):
            to.print(line)
        if found:
            explanation.print_notes([*found.notes, *live_flow.notes(live)], to)
            were = "" if live.in_force else ", were this policy in force"
            explanation.print_path(f"Path on node {node}{were}", found.path, to)
    if not live.in_force:
        raise click.exceptions.Exit(INVALID)


def _refuse_impossible(flow: Flow, system: OperatingSystem, other: str) -> None:
    if system == "windows" and flow.direction == "forward":
        raise click.UsageError(
            "--direction forward never happens on a Windows host, whose pods no policy governs "
            f"(use ingress or egress for the host's own traffic, {other})"
        )


def _flow(flow: Flow, system: OperatingSystem) -> str:
    return f"{flow.direction} {flow.source} -> {flow.destination} UDP port {flow.port}, {system}"


def _print_json(answer: dict[str, Any]) -> None:
    click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
