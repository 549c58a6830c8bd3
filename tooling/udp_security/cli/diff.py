# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security diff`: what one policy allows and another denies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from udp_security.cli.cluster import cluster_options, in_cluster
from udp_security.cli.errors import CANNOT_RUN, CannotRunError, UserError, debug_option
from udp_security.cli.inputs import (
    check,
    console,
    output_option,
    print_problems_as_json,
    print_problems_to_stderr,
)
from udp_security.cli.patience import patience, say

if TYPE_CHECKING:
    from udp_security.cli.discovered import Report
    from udp_security.cluster.plan import Plan
    from udp_security.policy.settings import Side
    from udp_security.values.merge import Values

_DIFFERENT = 1

_EPILOG = """\b
Examples:
  udp-security diff old.yaml new.yaml
  git show HEAD:values.yaml | udp-security diff - values.yaml
  udp-security diff --live values.yaml
  udp-security diff old.yaml new.yaml -o json

\b
Exit status: 0 no difference, 1 there are differences, 2 wrong usage, values
that are invalid or unreadable, or no access to the cluster, 130 Ctrl-C."""


@click.command(epilog=_EPILOG, options_metavar="[OPTIONS]")
@click.argument(
    "files", metavar="[OLD] NEW", nargs=-1, required=True, type=click.Path(allow_dash=True)
)
@click.option("--live", is_flag=True, help="Compare with what the cluster is told to enforce.")
@cluster_options
@output_option
@debug_option
def diff(
    files: tuple[str, ...], live: bool, kubeconfig: str | None, context: str | None, output: str
) -> None:
    """Show which flows become allowed or denied from OLD to NEW.

    OLD and NEW are values files, - for standard input, each on top of the chart's defaults. With
    --live there is only NEW, and OLD is what the cluster has; the cluster's own addresses, where
    NEW does not set cluster.*, are then asked of it, as by 'enable'.

    Not the text is compared but the meaning, exactly: rules may be written, ordered and split in
    any way. A box of flows has a direction, nodes, sources, destinations and ports, like a rule. A
    flow counts as allowed if a rule allows it or the scope leaves it alone. In mode audit, what
    counts as denied passes all the same; a change of mode is told as such, and so are the agents'
    other settings that decide where and how a policy is enforced.
    """
    wanted = 1 if live else 2
    if len(files) != wanted:
        raise click.UsageError(
            "--live takes one values file, NEW"
            if live
            else "two values files are compared, OLD and NEW (or --live and NEW)"
        )
    if files.count("-") > 1:
        raise click.UsageError("standard input (-) can be only one of the values files")
    # Imported here since they are slow and every command would pay.
    from udp_security.cli.differences import (  # noqa: PLC0415
        difference_as_json,
        print_difference,
    )
    from udp_security.policy.difference import difference  # noqa: PLC0415

    *olds, given = _valid(files, output)
    values: Mapping[str, Any] = given.merged
    if olds:
        old = _side(olds[0].merged)
    else:
        old, values = _live(given, output, kubeconfig, context)
    new = _side(values)
    with patience("Comparing the policies"):
        found = difference(
            old.policies, new.policies, (old.cluster, new.cluster), (old.settings, new.settings)
        )
    if output == "json":
        click.echo(json.dumps(difference_as_json(found), indent=2))
    else:
        print_difference(found, console())
    if not found.empty:
        raise click.exceptions.Exit(_DIFFERENT)


def _valid(files: tuple[str, ...], output: str) -> list[Values]:
    """The values of each file; what is wrong with any of them ends the command."""
    checked = [check([file], []) for file in files]
    problems = [problem for one in checked for problem in one.problems]
    if problems:
        _report(output)(problems)
        # Not 1, as elsewhere: here that means a difference.
        raise click.exceptions.Exit(CANNOT_RUN)
    return [one.values for one in checked if one.values]


def _report(output: str) -> Report:
    return print_problems_as_json if output == "json" else print_problems_to_stderr


def _side(values: Mapping[str, Any]) -> Side:
    from udp_security.policy.model import SYSTEMS, Policy  # noqa: PLC0415
    from udp_security.policy.settings import Side, of_values  # noqa: PLC0415

    policies = {os: Policy.from_values(values, os) for os in SYSTEMS if values[os]["enabled"]}
    return Side(policies, values["cluster"], of_values(values))


def _live(
    new: Values, output: str, kubeconfig: str | None, context: str | None
) -> tuple[Side, Mapping[str, Any]]:
    """What the cluster has, and the merged values as `enable` would install them there."""
    # Imported here since they are slow and few commands need them.
    from udp_security.cli.discovered import from_cluster  # noqa: PLC0415
    from udp_security.cluster.client import Client  # noqa: PLC0415
    from udp_security.cluster.comparison import running  # noqa: PLC0415
    from udp_security.cluster.ground import as_installed  # noqa: PLC0415

    async def work() -> tuple[Side, Plan]:
        async with Client(kubeconfig, context) as client:
            return await running(client), await as_installed(client, new)

    say("asking the cluster")
    try:
        old, plan = in_cluster(work())
    except UserError as error:
        raise CannotRunError(error.message) from error
    return old, from_cluster(plan, _report(output), CANNOT_RUN).merged
