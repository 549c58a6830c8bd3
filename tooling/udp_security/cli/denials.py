# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security denials`: what the nodes of a running cluster denied."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import click

from udp_security.cli.cluster import cluster_options, counting, in_cluster, timeout_option
from udp_security.cli.errors import INVALID, debug_option
from udp_security.cli.inputs import output_option
from udp_security.cli.patience import hush, say
from udp_security.policy.denied import as_json, port_as_json, time_text

if TYPE_CHECKING:
    from udp_security.cluster.denials import Denials
    from udp_security.cluster.following import Growth

_EPILOG = """\b
A flow is named by its first packet, as a rule would name it: on Linux behind
the services' translation. Names say what the cluster has at an address now.
Windows nodes and the backend iptables cannot tell flows.

\b
Examples:
  udp-security denials
  udp-security denials --since 10m --limit 100
  udp-security denials --follow
  udp-security denials -o json > denials.json

\b
Exit status: 0 all agents answered, 1 some did not, or not enabled, 2 wrong
usage or no access to the cluster, 130 Ctrl-C."""

_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


def _duration(_: click.Context, __: click.Parameter, value: str | None) -> timedelta | None:
    if value is None:
        return None
    found = _DURATION.fullmatch(value)
    hours, minutes, seconds = (int(part or 0) for part in (found.groups() if found else ("",) * 3))
    duration = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not duration:
        raise click.BadParameter(f"{value!r} is not a time (write it as in 90s, 10m or 1h30m)")
    return duration


@click.command(epilog=_EPILOG)
@click.option(
    "--since",
    metavar="TIME",
    callback=_duration,
    help="Only flows that were denied in this time, as in 90s or 10m. Nodes remember an hour.",
)
@click.option(
    "--follow", is_flag=True, help="Print what is denied from now on (or --since), until Ctrl-C."
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="Flows in the table. JSON has all.",
)
@timeout_option(10, "How long each node's agent may take to answer.")
@cluster_options
@output_option
@debug_option
def denials(
    since: timedelta | None,
    follow: bool,
    limit: int,
    timeout: int,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Show which flows the nodes of a running cluster denied, most packets first.

    All agents are asked at once. The same flow on several nodes is one line. In mode audit the
    flows would be denied, but pass. With --follow there is a line for each flow and node as
    packets are denied; with -o json each line is an object.
    """
    # Imported here since they are slow and few commands need them.
    from udp_security.cli import denials_text  # noqa: PLC0415

    if since and since > denials_text.REMEMBERED:
        told = denials_text.duration_text(since)
        click.echo(f"Note: nodes remember denials for an hour, not for {told}", err=True)
    if follow:
        _follow(since, timeout, kubeconfig, context, output)
        return
    found, cluster = _ask(since, timeout, kubeconfig, context, addresses=output == "json")
    for note in denials_text.notes(found):
        click.echo(f"Note: {note}", err=True)
    if output == "json":
        click.echo(json.dumps(_as_json(found, cluster), indent=2, ensure_ascii=False))
    else:
        for line in denials_text.lines(found, limit):
            click.echo(line)
    if any(node.failed for node in found.nodes):
        raise click.exceptions.Exit(INVALID)


def _ask(
    since: timedelta | None,
    timeout: int,
    kubeconfig: str | None,
    context: str | None,
    *,
    addresses: bool,
) -> tuple[Denials, Mapping[str, Sequence[str]] | None]:
    """Also the cluster's own addresses, if they are wanted and known."""
    from udp_security.cluster.client import Client, ClusterError  # noqa: PLC0415
    from udp_security.cluster.denials import denials_of  # noqa: PLC0415
    from udp_security.cluster.ground import live_addresses  # noqa: PLC0415

    async def work() -> tuple[Denials, Mapping[str, Sequence[str]] | None]:
        async with Client(kubeconfig, context) as client, counting() as heard:
            found = await denials_of(client, timeout, since, heard)
            if not addresses:
                return found, None
            try:
                return found, await live_addresses(client)
            except ClusterError as error:
                click.echo(f"Note: the cluster's own CIDRs are not known: {error}", err=True)
                return found, None

    return in_cluster(work())


def _follow(
    since: timedelta | None, timeout: int, kubeconfig: str | None, context: str | None, output: str
) -> None:
    from udp_security.cli import denials_text  # noqa: PLC0415
    from udp_security.cluster.client import Client  # noqa: PLC0415
    from udp_security.cluster.following import follow  # noqa: PLC0415

    told = _growth_as_json if output == "json" else denials_text.line
    began = time.monotonic()
    packets = 0
    flows: set[Any] = set()

    async def work() -> None:
        nonlocal packets
        async with (
            Client(kubeconfig, context) as client,
            aclosing(follow(client, timeout, since)) as polls,
        ):
            async for poll in polls:
                hush()
                for event in poll:
                    if isinstance(event, str):
                        click.echo(f"Note: {event}", err=True)
                        continue
                    packets += event.packets
                    flow = event.flow
                    flows.add((flow.direction, flow.source, flow.destination, flow.port))
                    when = flow.last_seen or datetime.now(timezone.utc)
                    click.echo(told(when, event))

    def summary() -> str:
        seconds = time.monotonic() - began
        return f"In {seconds:.0f} s: {packets} packets denied, of {len(flows)} flows."

    say("Following what is denied; Ctrl-C ends it")
    in_cluster(work(), summary)


def _growth_as_json(when: datetime, growth: Growth) -> str:
    more = {"time": time_text(when), "mode": growth.mode, "newPackets": growth.packets}
    return json.dumps({**more, **as_json(growth.flow)}, ensure_ascii=False)


def _as_json(found: Denials, cluster: Mapping[str, Sequence[str]] | None) -> dict[str, Any]:
    return {
        "schemaVersion": 1,
        "time": time_text(found.time),
        "since": None if found.since is None else int(found.since.total_seconds()),
        "cluster": cluster,
        "nodes": [
            {
                "node": node.node,
                "os": node.os,
                "mode": node.mode,
                "available": node.available,
                "reason": node.reason,
            }
            for node in found.nodes
        ],
        "flows": [as_json(flow) for flow in found.flows],
        "ports": [port_as_json(port) for port in found.ports],
    }
