# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security demo`: the firewall at work in network namespaces, beside the reference's rules."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from udp_security.helm import HelmMissingError, HelmRefusedError

if TYPE_CHECKING:
    from udp_security.demo.story import Event, Row, Story

from udp_security.cli.errors import debug_option
from udp_security.cli.inputs import console

_EPILOG = """\b
It needs nft, iptables, iproute2, busybox, dnsmasq and Helm, and either root or
a kernel that lets users make namespaces. Nothing outside its own namespaces is
touched, and nothing stays behind.

\b
Example:
  udp-security demo

\b
Exit status: 0 every packet met the fate that the policy means, 1 one did not,
2 something that is needed is missing."""


@click.command(epilog=_EPILOG)
@debug_option
def demo() -> None:
    """Show the firewall at work in a lab of network namespaces.

    A node with Flannel's and kube-proxy's rules, pods, a second node, DNS servers and a stranger
    are built; the chart is rendered and its agent guards the node; real packets tell what passes
    and what is denied, beside what the published reference's rules do in the same lab.
    """
    # Imported here since only this command needs the lab.
    from udp_security.demo.story import tell  # noqa: PLC0415
    from udp_security.lab.errors import LabError  # noqa: PLC0415

    began = time.monotonic()
    try:
        story = tell(lambda step: console().print(f"... {step}", style="dim"))
    except (LabError, HelmMissingError, HelmRefusedError) as error:
        raise click.UsageError(str(error)) from error
    _report(story)
    console().print(f"\nDone in {time.monotonic() - began:.0f} s.")
    if not story.good:
        sys.exit(1)


def _report(story: Story) -> None:
    table = Table("flow", "policy", "reference", "ours", "why", box=None, padding=(0, 2, 0, 0))
    for row in story.rows:
        table.add_row(
            row.title,
            "allow" if row.allowed else "deny",
            _fate(row, row.reference),
            _fate(row, row.ours),
            Text(row.why, style="dim"),
        )
    console().print()
    console().print(table)
    console().print("! is not what the policy means.\n\nAnd then:")
    for event in story.events:
        console().print(_event(event))
    wrong = sum(row.reference != row.allowed for row in story.rows)
    ours = sum(row.ours != row.allowed for row in story.rows)
    console().print(
        f"\n{len(story.rows)} flows: the reference gets {wrong} wrong, udp-security {ours}."
    )


def _fate(row: Row, passed: bool) -> Text:
    text = "passes" if passed else "denied"
    if passed == row.allowed:
        return Text(text, style="green")
    return Text(f"{text} !", style="bold red")


def _event(event: Event) -> Text:
    style = "green" if event.good else "bold red"
    return Text.assemble(f"  {event.title}: ", (event.outcome, style))
