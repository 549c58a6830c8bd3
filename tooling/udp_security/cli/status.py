# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security status`: what is in force on each node of a running cluster."""

from __future__ import annotations

import asyncio
import json
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Group
from rich.live import Live
from rich.text import Text

from udp_security.cli import fleet
from udp_security.cli.cluster import cluster_options, counting, in_cluster, timeout_option
from udp_security.cli.errors import INVALID, debug_option
from udp_security.cli.inputs import console
from udp_security.cli.patience import hush, say

if TYPE_CHECKING:
    from udp_security.cluster.status import NodeStatus

    # None where the addon is not installed.
    _Nodes = list[NodeStatus] | None
    # Takes the nodes, and why they could not be asked this time, if so.
    _Tell = Callable[[_Nodes, str], None]

_EPILOG = """\b
DENIED are packets, in/out/forward: to the node, from it, through it. In mode
audit they passed all the same. Windows nodes count none. HEALS is how often
the agent had to put its rules back, AGE how long ago it last loaded them.

\b
Examples:
  udp-security status
  udp-security status --watch
  udp-security status -o wide
  udp-security status --context ward -o json

\b
Exit status: 0 every node that is ready and governed enforces, 1 the policy is
not in force on one of them, or no node is governed, or it is not enabled, 2
wrong usage or no access to the cluster, 3 in force on all of them, on one at
least in mode audit, 130 Ctrl-C."""

#: The exit status where the policy is in force and denies nothing.
AUDIT = 3

_NOT_ENABLED = "udp-security is not enabled in this cluster ('udp-security enable' does it)."
# Seconds from one look to the next.
_INTERVAL = 2.0


@click.command(epilog=_EPILOG)
@click.option("-w", "--watch", is_flag=True, help="Look again every 2 s, until Ctrl-C.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "wide", "json"]),
    default="text",
    show_default=True,
    help="How to print the result; wide: with more columns.",
)
@timeout_option(10, "How long each node's agent may take to answer.")
@cluster_options
@debug_option
def status(
    watch: bool, output: str, timeout: int, kubeconfig: str | None, context: str | None
) -> None:
    """Show what is in force on each node of a running cluster, or why not.

    All agents are asked at once. With -o json, what each says is in it as well. With --watch, the
    table is drawn anew on a terminal; elsewhere each change is printed below the last one.
    """
    if watch:
        in_cluster(_watch(output, timeout, kubeconfig, context))
    nodes = in_cluster(_look(timeout, kubeconfig, context))
    if output == "json":
        click.echo(json.dumps(_as_json(nodes), indent=2))
    else:
        for line in _lines(nodes, output, datetime.now(timezone.utc)):
            console().print(line)
    if code := _exit_status(nodes):
        raise click.exceptions.Exit(code)


async def _look(
    timeout: int, kubeconfig: str | None, context: str | None, *, tell: bool = True
) -> _Nodes:
    # Imported here since they are slow and few commands need them.
    from udp_security.cluster.client import Client  # noqa: PLC0415
    from udp_security.cluster.status import status_of  # noqa: PLC0415

    async with Client(kubeconfig, context) as client:
        if not tell:
            return await status_of(client, timeout)
        async with counting() as heard:
            return await status_of(client, timeout, heard)


async def _watch(
    output: str, timeout: int, kubeconfig: str | None, context: str | None
) -> NoReturn:
    from udp_security.cluster.client import ClusterError  # noqa: PLC0415

    show = _draw if console().is_terminal and output != "json" else _print
    nodes, fault = await _look(timeout, kubeconfig, context), ""
    hush()
    with show(output) as tell:
        while True:
            tell(nodes, fault)
            await _pause()
            try:
                # It logs in anew: a token may not live as long as somebody watches.
                nodes, fault = await _look(timeout, kubeconfig, context, tell=False), ""
            except ClusterError as error:
                fault = f"The cluster cannot be asked: {error}"


async def _pause() -> None:
    await asyncio.sleep(_INTERVAL)


@contextmanager
def _draw(output: str) -> Iterator[_Tell]:
    """Draws the table in the same place again, as much of it as the terminal has room for."""
    with Live(console=console(), auto_refresh=False) as live:

        def tell(nodes: _Nodes, fault: str) -> None:
            width, height = live.console.size
            lines = [Text(line, "red") for line in textwrap.wrap(fault, width)[: height // 2]]
            if nodes is None:
                lines.append(Text(_NOT_ENABLED))
            else:
                now = datetime.now(timezone.utc)
                # The cursor has the last line.
                room = height - len(lines) - 1
                wide = output == "wide"
                lines += fleet.screen(nodes, wide=wide, now=now, width=width, height=room)
            live.update(Group(*lines), refresh=True)

        yield tell


@contextmanager
def _print(output: str) -> Iterator[_Tell]:
    """Prints what differs from the last time. An age alone is no difference."""
    last: object = None

    def tell(nodes: _Nodes, fault: str) -> None:
        nonlocal last
        now = datetime.now(timezone.utc)
        if output == "json":
            state = [json.dumps(_as_json(nodes))]
        else:
            state = [line.plain for line in _lines(nodes, output, None)]
        if (state, fault) == last:
            return
        last = state, fault
        if fault:
            say(fault)
        elif output == "json":
            click.echo(state[0])
        else:
            click.echo(f"{now:%Y-%m-%dT%H:%M:%SZ}")
            for line in _lines(nodes, output, now):
                console().print(line)
            click.echo()

    yield tell


def _lines(nodes: _Nodes, output: str, now: datetime | None) -> list[Text]:
    if nodes is None:
        return [Text(_NOT_ENABLED)]
    wide = output == "wide"
    return [*fleet.table(nodes, wide=wide, now=now), *fleet.words(nodes, wide=wide)]


def _exit_status(nodes: _Nodes) -> int:
    counted = [node for node in nodes or () if node.counts]
    if not counted or not all(node.in_force for node in counted):
        return INVALID
    return 0 if all(node.enforces for node in counted) else AUDIT


def _as_json(nodes: _Nodes) -> dict[str, Any]:
    return {
        "enabled": nodes is not None,
        "inForce": _exit_status(nodes) != INVALID,
        "enforced": _exit_status(nodes) == 0,
        "nodes": [
            {
                "node": node.node,
                "os": node.os,
                "ready": node.ready,
                "governed": node.governed,
                "inForce": node.in_force,
                "reason": node.reason or None,
                "ownerPod": node.owner,
                "status": node.said.raw if node.said else None,
            }
            for node in nodes or ()
        ],
    }
