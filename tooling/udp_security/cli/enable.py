# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security enable`: the policy in force in a running cluster, or nothing changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from udp_security.cli.cluster import cluster_options, executable, in_cluster, timeout_option
from udp_security.cli.errors import INVALID, debug_option
from udp_security.cli.inputs import (
    chart,
    output_option,
    print_problems_as_json,
    print_problems_to_stderr,
    require_valid,
    values_options,
)
from udp_security.cli.patience import say

if TYPE_CHECKING:
    from udp_security.cluster.enabling import Enabled

_EPILOG = """\b
Examples:
  udp-security enable --mode audit
  udp-security enable -f values.yaml
  udp-security enable -f values.yaml --context ward -o json

\b
The cluster's own addresses (cluster.podCIDRs, serviceCIDRs, nodeCIDRs) are
taken from the cluster where the values don't set them.

\b
Exit status: 0 in force, 1 refused, or failed and taken back, 2 wrong usage,
no Helm, or no access to the cluster (nothing was changed then), 130 Ctrl-C."""

_SYSTEMS = {"linux": "Linux", "windows": "Windows"}


@click.command(epilog=_EPILOG)
@values_options
@click.option(
    "--mode",
    type=click.Choice(["enforce", "audit"]),
    help="Deny what no rule allows, or only count it. By default the values decide.",
)
@timeout_option(300, "How long the nodes that are ready may take.")
@cluster_options
@output_option
@debug_option
def enable(
    files: tuple[str, ...],
    settings: tuple[str, ...],
    mode: str | None,
    timeout: int,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Roll the policy out to the nodes of a running cluster.

    The agents are installed with Helm (release and namespace udp-security), and this waits until
    the policy is in force on all nodes that are ready, by the agents' own check. In mode enforce
    cluster DNS must still answer. When any of that fails, the state before is brought back.

    Where it is enabled already, the policy is changed: to the values of -f and --set alone, or,
    without any, to those that are there, in another --mode.
    """
    report = print_problems_as_json if output == "json" else print_problems_to_stderr
    all_settings = (*settings, f"mode={mode}") if mode else settings
    values = require_valid(files, all_settings, report)
    helm = executable()
    # Imported here since they are slow and few commands need them.
    from udp_security.cluster.client import Client, ClusterError, NoAccessError  # noqa: PLC0415
    from udp_security.cluster.enabling import Enabling, InvalidValuesError  # noqa: PLC0415
    from udp_security.cluster.release import Release  # noqa: PLC0415

    enabling = Enabling(Release(helm, kubeconfig, context), say)

    async def work() -> Enabled:
        try:
            async with Client(kubeconfig, context) as client:
                return await enabling.enable(
                    client, chart(), values, timeout, keep=not files and not settings
                )
        except InvalidValuesError as error:
            report(list(error.problems))
            raise click.exceptions.Exit(INVALID) from error
        except NoAccessError:
            raise
        except ClusterError as error:
            if output != "json":
                raise
            click.echo(json.dumps({"enabled": False, "error": str(error)}, indent=2))
            raise click.exceptions.Exit(INVALID) from error

    done = in_cluster(work(), lambda: enabling.state, changing=True)
    if output == "json":
        click.echo(json.dumps(_as_json(done), indent=2))
    else:
        for line in _summary(done):
            click.echo(line)


def _as_json(done: Enabled) -> dict[str, object]:
    return {
        "enabled": True,
        "mode": done.values["mode"],
        "revision": done.revision,
        "replaced": done.replaced or None,
        "inForce": done.in_force.nodes,
        "notReady": done.in_force.not_ready,
    }


def _summary(done: Enabled) -> list[str]:
    """What is denied now, how to look, how to go back."""
    values = done.values
    count = len(done.in_force.nodes)
    nodes = " and ".join(
        f"{name} nodes (scope {values[os]['scope']})"
        for os, name in _SYSTEMS.items()
        if values[os]["enabled"]
    )
    denied = f"Denied now: every UDP flow that no rule allows, on {nodes or 'no nodes'}"
    if values["mode"] == "audit":
        denied = (
            "Mode audit: nothing is denied. Linux nodes count every UDP flow that no rule allows"
        )
    presets = ", ".join(name for name, on in values["presets"].items() if on) or "(none)"
    back = "To go back: 'udp-security disable'"
    if done.replaced:
        rollback = f"helm rollback udp-security {done.replaced} -n udp-security"
        back += f"; to the policy from before: '{rollback}'"
    lines = [
        f"udp-security is in force on {count} {'node' if count == 1 else 'nodes'} "
        f"(revision {done.revision}, mode {values['mode']}).",
        f"{denied}. TCP, ICMP and all other protocols are untouched",
        f"Allowed: presets {presets}, and {len(values['rules'])} rule(s) of your own",
        "On each node, and what was denied: 'udp-security status'",
        back,
    ]
    if values["mode"] == "enforce":
        lines.append("To count without denying: 'udp-security enable --mode audit'")
    return lines
