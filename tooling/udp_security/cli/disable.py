# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security disable`: nothing of it left in a running cluster."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import click

from udp_security.cli.cluster import cluster_options, executable, in_cluster, timeout_option
from udp_security.cli.errors import debug_option
from udp_security.cli.inputs import output_option
from udp_security.cli.patience import say

if TYPE_CHECKING:
    from udp_security.cluster.removal import Leftover

_EPILOG = """\b
Examples:
  udp-security disable
  udp-security disable --context ward -o json

\b
Exit status: 0 disabled, also where it was already, 1 failed, 2 wrong usage,
no Helm, or no access to the cluster, 130 Ctrl-C."""

_STATE = "The agents may be removed in part: run 'udp-security disable' again."


@click.command(epilog=_EPILOG)
@timeout_option(120, "How long the agents may take to remove their rules.")
@cluster_options
@output_option
@debug_option
def disable(timeout: int, kubeconfig: str | None, context: str | None, output: str) -> None:
    """Take the policy away from the nodes of a running cluster.

    The Helm release is uninstalled, the agents remove their rules and end, and the namespace
    udp-security is deleted. Nodes whose agent could not clean up are named, with the command to
    run there. Its rules and values are gone: 'udp-security enable' begins with its own.
    """
    helm = executable()
    # Imported here since they are slow and few commands need them.
    from udp_security.cluster.client import Client  # noqa: PLC0415
    from udp_security.cluster.namespace import has_namespace  # noqa: PLC0415
    from udp_security.cluster.release import Release  # noqa: PLC0415
    from udp_security.cluster.removal import by_command, remove_everything  # noqa: PLC0415

    release = Release(helm, kubeconfig, context)

    async def work() -> list[Leftover] | None:
        async with Client(kubeconfig, context) as client:
            if not await has_namespace(client):
                return None
            say("Uninstalling the agents")
            return await remove_everything(client, release, timeout, say, namespace=True)

    left = in_cluster(work(), lambda: _STATE, changing=True)
    if output == "json":
        nodes = [dataclasses.asdict(each) for each in left or ()]
        click.echo(json.dumps({"changed": left is not None, "left": nodes}, indent=2))
    elif left is None:
        click.echo("udp-security is disabled already, nothing to do.")
    else:
        click.echo("udp-security is disabled: no UDP traffic is denied.")
        for command, names in by_command(left).items():
            click.echo(
                f"The agents on these nodes did not clean up: {names}. Where their rules are still "
                f"in force when the node is back, run there: {command}"
            )
