# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security diff`: what one policy allows and another denies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from udp_security.cli.cluster import cluster_options, in_cluster, say
from udp_security.cli.errors import CANNOT_RUN, CannotRunError, UserError, debug_option
from udp_security.cli.inputs import (
    check,
    console,
    output_option,
    print_problems_as_json,
    print_problems_to_stderr,
)

if TYPE_CHECKING:
    from udp_security.policy.boxes import Policies

_DIFFERENT = 1
# From so many rules on it may take more than a moment.
_MANY_RULES = 200

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
    --live there is only NEW, and OLD is what the cluster has.

    Not the text is compared but the meaning, exactly: rules may be written, ordered and split in
    any way. A box of flows has a direction, nodes, sources, destinations and ports, like a rule. A
    flow counts as allowed if a rule allows it or the scope leaves it alone. In mode audit, what
    counts as denied passes all the same; a change of mode is told as such.
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

    *olds, new = _valid(files, output)
    old = _policies(olds[0]) if olds else _live(kubeconfig, context)
    if len(new["rules"]) > _MANY_RULES:
        say(f"comparing {len(new['rules'])} rules")
    found = difference(old, _policies(new), new["cluster"])
    if output == "json":
        click.echo(json.dumps(difference_as_json(found), indent=2))
    else:
        print_difference(found, console())
    if not found.empty:
        raise click.exceptions.Exit(_DIFFERENT)


def _valid(files: tuple[str, ...], output: str) -> list[Mapping[str, Any]]:
    """The merged values of each file; what is wrong with any of them ends the command."""
    checked = [check([file], []) for file in files]
    problems = [problem for one in checked for problem in one.problems]
    if problems:
        (print_problems_as_json if output == "json" else print_problems_to_stderr)(problems)
        # Not 1, as elsewhere: here that means a difference.
        raise click.exceptions.Exit(CANNOT_RUN)
    return [one.values.merged for one in checked if one.values]


def _policies(values: Mapping[str, Any]) -> Policies:
    from udp_security.policy.model import SYSTEMS, Policy  # noqa: PLC0415

    return {os: Policy.from_values(values, os) for os in SYSTEMS if values[os]["enabled"]}


def _live(kubeconfig: str | None, context: str | None) -> Policies:
    # Imported here since they are slow and few commands need them.
    from udp_security.cluster.client import Client  # noqa: PLC0415
    from udp_security.cluster.live import live_policies  # noqa: PLC0415

    async def work() -> Policies:
        async with Client(kubeconfig, context) as client:
            return await live_policies(client)

    say("asking the cluster")
    try:
        return in_cluster(work())
    except UserError as error:
        raise CannotRunError(error.message) from error
