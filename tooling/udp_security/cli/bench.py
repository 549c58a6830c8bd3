# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security bench`: what the firewall costs here, against the same node without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from udp_security.cli.errors import CannotRunError, debug_option
from udp_security.cli.inputs import console
from udp_security.cli.tables import table
from udp_security.helm import HelmMissingError, HelmRefusedError

if TYPE_CHECKING:
    from udp_security.bench.results import Results

_EPILOG = """\b
It needs what `demo` needs, and a C compiler. Nothing outside its own
namespaces is touched. Numbers of a busy machine are worth little: leave it
alone meanwhile.

\b
Examples:
  udp-security bench --quick
  udp-security bench --output results/

\b
Exit status: 0 measured (whether targets are reached or not), 2 something
that is needed is missing."""


@click.command(epilog=_EPILOG)
@click.option("--quick", is_flag=True, help="A few minutes instead of an hour, and rougher.")
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write results.csv, results.md and costs.svg there.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help="How often each variant has its turn (default 40, with --quick 5).",
)
@debug_option
def bench(quick: bool, output: Path | None, rounds: int | None) -> None:
    """Measure what the firewall costs, in network namespaces.

    A program in C sends packets through a node's real hooks. The node alone, the published
    reference's rules and ours take turns many times over; a ratio compares neighbours in time.
    """
    # Imported here since only this command needs them.
    from udp_security.bench import report  # noqa: PLC0415
    from udp_security.bench.run import FULL, QUICK, run  # noqa: PLC0415
    from udp_security.bench.steps import Steps  # noqa: PLC0415
    from udp_security.lab.errors import LabError  # noqa: PLC0415

    try:
        scale = QUICK if quick else FULL
        if rounds is not None:
            scale = replace(scale, rounds=rounds)
        results = run(Steps(console(stderr=True)), scale)
    except (LabError, HelmMissingError, HelmRefusedError) as error:
        raise CannotRunError(str(error)) from error
    _print(results)
    if output is not None:
        try:
            written = report.write(results, output)
        except OSError as error:
            raise CannotRunError(f"cannot write the results: {error}") from error
        console().print("\nWritten: " + ", ".join(map(str, written)))


def _print(results: Results) -> None:
    from udp_security.bench import report  # noqa: PLC0415

    for name, text in results.machine.items():
        console().print(f"{name}: {text}", style="dim")
    for header, rows in (
        (report.COST_HEADER, list(map(report.cost_row, results.costs))),
        (report.FACT_HEADER, list(map(report.fact_row, results.facts))),
    ):
        # Not wrapped: a terminal too narrow for a table shows more of one that it breaks itself.
        console().print()
        for line in table([header, *rows]):
            console().print(line)
    for note in results.notes:
        console().print(f"Note: {note}")
