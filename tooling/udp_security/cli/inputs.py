# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The options that name values, and what happens when the values are invalid."""

import gc
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from udp_security.chart import ChartMissingError, chart_dir
from udp_security.cli.errors import CANNOT_RUN, INVALID, CannotRunError
from udp_security.policy import idle
from udp_security.values import validation
from udp_security.values.merge import Values
from udp_security.values.problem import ValuesError, ValuesProblem


@dataclass(frozen=True)
class Checked:
    """The outcome of reading and checking values: `values` is None when they could not be read."""

    values: Values | None
    problems: list[ValuesProblem]
    exit_code: int


def values_options(command: click.decorators.FC) -> click.decorators.FC:
    """Adds -f/--values (parameter `files`) and --set (parameter `settings`)."""
    command = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set a value, after all files, as in helm --set. Repeatable.",
    )(command)
    return click.option(
        "-f",
        "--values",
        "files",
        multiple=True,
        metavar="FILE",
        type=click.Path(allow_dash=True),
        help="A values file, - for standard input. Repeatable: later ones win.",
    )(command)


def output_option(command: click.decorators.FC) -> click.decorators.FC:
    """Adds -o/--output (parameter `output`: text or json)."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="How to print the result.",
    )(command)


def chart() -> Path:
    """The chart's folder; a broken installation ends the command."""
    try:
        return chart_dir()
    except ChartMissingError as error:
        raise CannotRunError(str(error)) from error


def check(files: Sequence[str], settings: Sequence[str]) -> Checked:
    """Reads, merges and checks the values on top of the chart's defaults."""
    if list(files).count("-") > 1:
        raise click.UsageError("standard input (-) can be only one of the values files")
    folder = chart()
    try:
        values = validation.load(folder, files, settings)
    except ValuesError as error:
        return Checked(None, error.problems, CANNOT_RUN if error.unreadable else INVALID)
    # What has been read stays to the end; looking through it again and again would take a while.
    gc.freeze()
    problems = validation.check(values, folder)
    return Checked(values, problems, INVALID if problems else 0)


def require_valid(
    files: Sequence[str],
    settings: Sequence[str],
    report: Callable[[list[ValuesProblem]], None] | None = None,
) -> Values:
    """Valid values, else the same errors as from `validate`, and the command ends.

    `report` prints the errors; by default as text on standard error.
    """
    checked = check(files, settings)
    if checked.values is None or checked.problems:
        (report or print_problems_to_stderr)(checked.problems)
        raise click.exceptions.Exit(checked.exit_code)
    return checked.values


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is; it has colours only on a terminal."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    # COLUMNS=0 is what programs export that know no width.
    if not made.width:
        made.width = 80
    return made


def print_problems(problems: Sequence[ValuesProblem], to: Console) -> None:
    """One line a problem: `file:line:column: path: reason (remedy)`."""
    for problem in problems:
        line = Text(str(problem))
        line.stylize("bold", 0, len(str(problem.position)))
        to.print(line)


def print_problems_to_stderr(problems: Sequence[ValuesProblem]) -> None:
    """The problems as text, for commands whose standard output is for something else."""
    print_problems(problems, console(stderr=True))


def print_notes(values: Mapping[str, Any]) -> None:
    """On standard error: which rules of valid values do nothing on some nodes."""
    for note in idle.notes(values):
        click.echo(f"Note: {note}", err=True)


def print_problems_as_json(problems: Sequence[ValuesProblem]) -> None:
    """The one JSON object of `validate -o json`: valid, errors."""
    errors = [problem.as_json() for problem in problems]
    click.echo(json.dumps({"valid": not errors, "errors": errors}, indent=2, ensure_ascii=False))
