# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security status`: what is in force on each node of a running cluster."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from udp_security.cli.cluster import cluster_options, in_cluster, timeout_option
from udp_security.cli.errors import INVALID, debug_option
from udp_security.cli.inputs import output_option

if TYPE_CHECKING:
    from udp_security.cluster.status import NodeStatus

_EPILOG = """\b
Denied are packets, in/out/forward: to the node, from it, through it. In mode
audit they passed all the same. Windows nodes count none.

\b
Examples:
  udp-security status
  udp-security status --context ward -o json

\b
Exit status: 0 in force on every node that is ready, 1 not so, or not enabled,
2 wrong usage or no access to the cluster, 130 Ctrl-C."""

_HEAD = ("NODE", "OS", "MODE", "GENERATION", "IN FORCE", "HEALS", "DENIED", "APPLIED")
_DIRECTIONS = ("ingress", "egress", "forward")


@click.command(epilog=_EPILOG)
@timeout_option(10, "How long each node's agent may take to answer.")
@cluster_options
@output_option
@debug_option
def status(timeout: int, kubeconfig: str | None, context: str | None, output: str) -> None:
    """Show what is in force on each node of a running cluster, or why not.

    All agents are asked at once. With -o json, what each says is in it as well.
    """
    # Imported here since they are slow and few commands need them.
    from udp_security.cluster.client import Client  # noqa: PLC0415
    from udp_security.cluster.status import status_of  # noqa: PLC0415

    async def work() -> list[NodeStatus] | None:
        async with Client(kubeconfig, context) as client:
            return await status_of(client, timeout)

    nodes = in_cluster(work(), lambda: "Nothing was changed.")
    good = nodes is not None and all(node.good for node in nodes)
    if output == "json":
        answer = {
            "enabled": nodes is not None,
            "inForce": good,
            "nodes": [_as_json(node) for node in nodes or ()],
        }
        click.echo(json.dumps(answer, indent=2))
    elif nodes is None:
        click.echo("udp-security is not enabled in this cluster ('udp-security enable' does it).")
    else:
        for line in _table([_HEAD, *map(_row, nodes)]):
            click.echo(line)
    if not good:
        raise click.exceptions.Exit(INVALID)


def _as_json(node: NodeStatus) -> dict[str, Any]:
    return {
        "node": node.node,
        "os": node.os,
        "ready": node.ready,
        "governed": node.governed,
        "inForce": node.in_force,
        "reason": node.reason or None,
        "status": node.said,
    }


def _row(node: NodeStatus) -> tuple[str, ...]:
    said = node.said or {}
    denied = said.get("counters", {}).get("denied", {})
    return (
        node.node,
        node.os,
        said.get("mode") or "-",
        said.get("generation") or "-",
        "yes" if node.in_force else f"no: {node.reason}" if node.governed else node.reason,
        str(said.get("heals", "-")),
        "/".join(str(denied[name]["packets"]) if name in denied else "-" for name in _DIRECTIONS),
        said.get("appliedAt") or "-",
    )


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they must be: no terminal's width cuts a reason off."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
