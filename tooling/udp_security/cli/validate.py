# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security validate`: every error in the values at once."""

import click

from udp_security.cli.errors import debug_option
from udp_security.cli.inputs import (
    check,
    console,
    output_option,
    print_notes,
    print_problems,
    print_problems_as_json,
    values_options,
)

_EPILOG = """\b
Examples:
  udp-security validate -f values.yaml
  udp-security validate -f base.yaml -f site.yaml --set mode=audit
  helm get values -o yaml my-release | udp-security validate -f -

\b
Exit status: 0 valid, 1 invalid, 2 wrong usage or an unreadable file."""


@click.command(epilog=_EPILOG)
@values_options
@output_option
@debug_option
@click.pass_context
def validate(
    context: click.Context, files: tuple[str, ...], settings: tuple[str, ...], output: str
) -> None:
    """Check values and print every error at once.

    The values are merged with the chart's defaults as Helm does: maps are merged, lists are
    replaced, null removes a default. Each error is a line `file:line:column: path: reason
    (remedy)`. For --set the line counts the options.

    What has the wrong form does not keep the rest from being checked, but whether a lifeline is cut
    off, and whether rules overlap too deeply, is told only once rules, presets, cluster,
    dangerouslyCutOff and linux.enabled have the right form.

    Only Helm (`udp-security render`) can tell whether a huge policy still fits a ConfigMap.
    """
    checked = check(files, settings)
    if output == "json":
        print_problems_as_json(checked.problems)
    elif checked.problems:
        print_problems(checked.problems, console())
    elif checked.values is not None:
        values = checked.values.merged
        names = ", ".join(checked.values.names) or "the chart's defaults"
        count = len(values["rules"])
        click.echo(
            f"{names}: valid ({count} {'rule' if count == 1 else 'rules'}, mode {values['mode']})"
        )
        print_notes(values)
    context.exit(checked.exit_code)
