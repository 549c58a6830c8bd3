# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security suggest`: rules for what was denied, to be judged and perhaps written."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from udp_security.cli.cluster import cluster_options, counting, in_cluster, timeout_option
from udp_security.cli.denials_file import STDIN, Silent, read_denials
from udp_security.cli.errors import INVALID, CannotRunError, UserError, debug_option
from udp_security.cli.inputs import (
    chart,
    output_option,
    print_problems_as_json,
    print_problems_to_stderr,
    require_valid,
    values_options,
)
from udp_security.cli.patience import patience, say

if TYPE_CHECKING:
    from udp_security.cli.discovered import Report
    from udp_security.policy.denied import DeniedFlow
    from udp_security.policy.ground import Ground
    from udp_security.policy.suggestion import Suggestion
    from udp_security.values.merge import Values
    from udp_security.values.problem import Path

_EPILOG = """\b
Denials can be forged by anybody who can send a packet. Flows with too few
packets, and those of too many strangers, are listed apart and become no rule.

\b
Examples:
  udp-security suggest
  udp-security denials -o json > denials.json
  udp-security suggest --denials denials.json -f values.yaml
  udp-security suggest --denials 08.json --denials 09.json
  udp-security suggest -f values.yaml --max-prefix 24,64
  udp-security suggest --write values.yaml

\b
Exit status: 0 suggested, or nothing to suggest, 1 invalid values or denials,
or some agents did not answer, 2 wrong usage or no access to the cluster, 130
Ctrl-C."""

_LENGTHS = {4: 32, 6: 128}


def _prefixes(_: click.Context, __: click.Parameter, value: str | None) -> Mapping[int, int]:
    """Prefix lengths by address family."""
    if value is None:
        return _LENGTHS
    found = re.fullmatch(r"/?(\d{1,3})(?:,/?(\d{1,3}))?", value)
    if found:
        prefixes = {4: int(found[1]), 6: int(found[2] or _LENGTHS[6])}
        if all(1 <= prefixes[family] <= longest for family, longest in _LENGTHS.items()):
            return prefixes
    raise click.BadParameter(
        f"{value!r} is not a prefix length (write 24, or 24,64 for IPv4 and IPv6)"
    )


@click.command(epilog=_EPILOG)
@click.option(
    "--denials",
    "denials_files",
    metavar="FILE",
    multiple=True,
    type=click.Path(allow_dash=True),
    help="What 'denials -o json' printed, - for standard input; several add up, and no packet "
    "counts twice. By default the cluster is asked.",
)
@values_options
@click.option(
    "--min-packets",
    metavar="N",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Flows with fewer denied packets become no rule.",
)
@click.option(
    "--max-prefix",
    "prefixes",
    metavar="N[,N]",
    callback=_prefixes,
    help="Several addresses may become a network, /N at the widest (IPv4, IPv6).",
)
@click.option(
    "--write",
    metavar="FILE",
    type=click.Path(),
    help="Add the suggestion to this values file, after a question.",
)
@click.option("--yes", is_flag=True, help="Don't ask before writing.")
@timeout_option(10, "How long each node's agent may take to answer.")
@cluster_options
@output_option
@debug_option
def suggest(
    denials_files: tuple[str, ...],
    files: tuple[str, ...],
    settings: tuple[str, ...],
    min_packets: int,
    prefixes: Mapping[int, int],
    write: str | None,
    yes: bool,
    timeout: int,
    kubeconfig: str | None,
    context: str | None,
    output: str,
) -> None:
    """Suggest rules that would allow what was denied.

    Prints as few rules as are readable, each with its reasons, then the flows that were left out,
    and what the rules would change in meaning. They are added to the values of -f; without -f, to
    the policy that the cluster has. Nothing is applied, and nothing but --write changes a file:
    of that file, every line stays as it is.

    Rules name both ends of a flow, by the addresses that were seen. Only --max-prefix lets several
    addresses become the narrowest network that holds them, and a pod's address the network of
    cluster.podCIDRs that it is in, where those are not wider. Where the values do not set
    cluster.*, the cluster's own addresses are taken, or those that are saved with the denials.
    """
    _check_usage(denials_files, files, write, yes)
    if write and not files:
        files = (write,)
    report = print_problems_as_json if output == "json" else print_problems_to_stderr
    values = require_valid(files, settings, report) if files or settings else None
    denials, ground, values = _look(denials_files, values, report, timeout, kubeconfig, context)
    # Imported here since they are slow.
    from udp_security.cli.suggestions import print_suggestion, suggestion_as_json  # noqa: PLC0415
    from udp_security.policy.difference import difference  # noqa: PLC0415
    from udp_security.policy.suggestion import suggest as suggested  # noqa: PLC0415

    with patience(f"Looking for the fewest rules for {len(denials.flows):,} denied flows"):
        suggestion = suggested(denials.flows, ground, min_packets, prefixes)
    with patience("Working out what they change in meaning"):
        # Rules only add: no lifeline can be lost.
        change = difference(ground.policies, ground.added(suggestion.added))
    if output == "text":
        print_suggestion(suggestion, change)
    elif write and not yes:
        # Nobody agrees to what is not shown.
        print_suggestion(suggestion, change, stderr=True)
    written = None
    if write and values and suggestion.added and _write(values, write, suggestion, yes):
        written = write
    if output == "json":
        answer = suggestion_as_json(suggestion, change, denials.silent, written)
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    if denials.failed:
        raise click.exceptions.Exit(INVALID)


class _Denials(NamedTuple):
    """`failed`: a node that should have told its denials did not."""

    flows: Sequence[DeniedFlow]
    silent: Sequence[Silent]
    failed: bool


def _check_usage(
    denials_files: Sequence[str], files: Sequence[str], write: str | None, yes: bool
) -> None:
    if [*denials_files, *files].count(STDIN) > 1:
        raise click.UsageError("standard input (-) can be only one of --denials and -f")
    if write is None:
        if yes:
            raise click.UsageError("--yes without --write (there is nothing to ask)")
        return
    if files and write not in files:
        raise click.UsageError(
            f"--write {write} is none of the values files (name it in -f as well, or leave -f out)"
        )
    if write == STDIN:
        raise click.UsageError("--write needs a file (standard input cannot be written to)")
    if not yes and (STDIN in denials_files or not _on_terminal()):
        raise click.UsageError("--write asks first, and here is no terminal (add --yes)")


def _on_terminal() -> bool:
    return sys.stdin.isatty()


def _look(
    denials_files: Sequence[str],
    values: Values | None,
    report: Report,
    timeout: int,
    kubeconfig: str | None,
    context: str | None,
) -> tuple[_Denials, Ground, Values | None]:
    """The denials and what is to be added to, from files or the cluster.

    The values come back with the cluster's own addresses, where they don't set those.
    """
    from udp_security.cli.discovered import from_denials  # noqa: PLC0415
    from udp_security.policy.ground import Ground  # noqa: PLC0415

    denials: _Denials | None = None
    notes: Sequence[str] = ()
    if denials_files:
        with patience("Reading the denials"):
            saved = read_denials(denials_files)
        denials = _Denials(saved.flows, saved.silent, failed=False)
        notes = [*map(str, saved.silent)]
        if values:
            values = from_denials(values, saved.cluster, report, INVALID)
    if denials is None or values is None:
        denials, ground, values, more = _ask(denials, values, report, timeout, kubeconfig, context)
        notes = (*notes, *more)
    else:
        ground = Ground.of_values(values.merged)
    for note in notes:
        click.echo(f"Note: {note}", err=True)
    return denials, ground, values


def _ask(
    denials: _Denials | None,
    values: Values | None,
    report: Report,
    timeout: int,
    kubeconfig: str | None,
    context: str | None,
) -> tuple[_Denials, Ground, Values | None, Sequence[str]]:
    """What of it all is not known yet, from the cluster, with notes."""
    from udp_security.cli.denials_text import notes  # noqa: PLC0415
    from udp_security.cli.discovered import from_cluster  # noqa: PLC0415
    from udp_security.cluster.client import Client  # noqa: PLC0415
    from udp_security.cluster.denials import denials_of  # noqa: PLC0415
    from udp_security.cluster.ground import as_installed, live_ground  # noqa: PLC0415
    from udp_security.policy.ground import Ground  # noqa: PLC0415

    async def work() -> tuple[_Denials, Ground, Values | None, Sequence[str]]:
        async with Client(kubeconfig, context) as client, counting() as heard:
            if values:
                judged = from_cluster(await as_installed(client, values), report, INVALID)
                ground = Ground.of_values(judged.merged)
            else:
                judged, ground = None, await live_ground(client)
            if denials is not None:
                return denials, ground, judged, ()
            found = await denials_of(client, timeout, None, heard)
            silent = [Silent(node.node, node.reason) for node in found.nodes if node.reason]
            failed = any(node.failed for node in found.nodes)
            return _Denials(found.flows, silent, failed), ground, judged, notes(found)

    return in_cluster(work())


def _write(values: Values, name: str, suggestion: Suggestion, yes: bool) -> bool:
    """Adds the suggestion to the file, if that makes valid values and nobody objects."""
    from udp_security.cli.suggestions import addition  # noqa: PLC0415
    from udp_security.values import validation  # noqa: PLC0415
    from udp_security.values.edit import EditError, add  # noqa: PLC0415
    from udp_security.values.load import ValuesFile  # noqa: PLC0415
    from udp_security.values.problem import ValuesError  # noqa: PLC0415
    from udp_security.values.rewrite import Original, RewriteError  # noqa: PLC0415

    new = addition(suggestion)
    say(f"Adding to {name}")
    try:
        original = Original(name)
        text = add(name, original.text, new)
        after = values.replacing(ValuesFile(name, text))
    except (EditError, RewriteError) as error:
        raise CannotRunError(f"{error}. Nothing was written") from error
    except ValuesError as error:
        print_problems_to_stderr(error.problems)
        raise click.exceptions.Exit(INVALID) from error
    _check_effect(values, after, name, suggestion)
    if problems := validation.check(after, chart()):
        print_problems_to_stderr(problems)
        raise UserError(f"with these rules the values would not be valid: {name} is unchanged")
    if not yes and not click.confirm(f"\nAdd this to {name}?", err=True):
        click.echo("Nothing was written.", err=True)
        return False
    try:
        original.replace(text)
    except RewriteError as error:
        raise CannotRunError(str(error)) from error
    click.echo(f"Written to {name}. Nothing is applied yet.", err=True)
    return True


def _check_effect(before: Values, after: Values, name: str, suggestion: Suggestion) -> None:
    """Ends the command where other layers of the values hide what is added, or it hides theirs."""
    from udp_security.values.problem import dotted  # noqa: PLC0415

    rules = [*before.merged["rules"], *(each.rule for each in suggestion.rules)]
    hidden: list[Path] = [("rules",)] if after.merged["rules"] != rules else []
    hidden += [
        ("presets", each.preset)
        for each in suggestion.presets
        if not after.merged["presets"].get(each.preset)
    ]
    for path in hidden:
        there = before.locate(path).file
        raise CannotRunError(
            f"{dotted(path)} would be in {name} and in {there}, of which one replaces the other "
            f"(write to {there}, or bring both together). Nothing was written"
        )
