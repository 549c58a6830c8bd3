# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security demo`: the firewall at work in network namespaces, beside the reference's rules."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from udp_security.helm import HelmMissingError, HelmRefusedError
from udp_security.windows.pwsh import PwshFailedError

if TYPE_CHECKING:
    from udp_security.demo.rows import Row
    from udp_security.demo.story import Event, Story
    from udp_security.demo.windows import WindowsStory

from udp_security.cli.errors import debug_option
from udp_security.cli.inputs import console

_EPILOG = """\b
It needs nft, iptables, iproute2, busybox, dnsmasq and Helm, and either root
or a kernel that lets users make namespaces. The part about Windows needs
PowerShell (pwsh), and is left out without it. Nothing outside its own
namespaces is touched, and nothing stays behind.

\b
Examples:
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
    and what is denied, beside what the published reference's rules do in the same lab. Then the
    agent for Windows compiles the same policy, and a model of Windows Firewall judges flows by it.
    """
    # Imported here since only this command needs the lab.
    from udp_security.demo.story import tell  # noqa: PLC0415
    from udp_security.lab.errors import LabError  # noqa: PLC0415

    began = time.monotonic()
    try:
        story = tell(lambda step: console().print(f"... {step}", style="dim"))
    except (LabError, HelmMissingError, HelmRefusedError, PwshFailedError) as error:
        raise click.UsageError(str(error)) from error
    _report(story)
    if story.windows:
        _report_windows(story.windows)
    else:
        console().print(f"\nWINDOWS IS NOT SHOWN: {story.missing}", style="bold yellow")
    console().print(f"\nDone in {time.monotonic() - began:.0f} s.")
    if not story.good:
        sys.exit(1)


def _report(story: Story) -> None:
    _print_rows(story.rows)
    console().print("! is not what the policy means.\n\nAnd then:")
    for event in story.events:
        console().print(_event(event))
    _print_score(story.rows)


def _report_windows(story: WindowsStory) -> None:
    console().print(
        f"\nThe same policy on a Windows node (scope cluster), {len(story.rules)} rules of its "
        "firewall:"
    )
    for rule in story.rules:
        inbound = rule.direction == "Inbound"
        ports = rule.local_ports if inbound else rule.remote_ports
        ends = f"{'from' if inbound else 'to'} {_few(rule.remote_addresses)}"
        line = f"  {rule.action.lower():<5} port {_few(ports)} {ends}"
        console().print(line, highlight=False, soft_wrap=True)
    console().print("\nand what a model of Windows Firewall makes of them (no Windows ran here):")
    _print_rows(story.rows)
    _print_score(story.rows)


def _few(texts: Sequence[str], most: int = 2) -> str:
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def _print_rows(rows: Sequence[Row]) -> None:
    table = Table("flow", "policy", "reference", "ours", "why", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(
            row.title,
            "allow" if row.allowed else "deny",
            _fate(row, row.reference),
            _fate(row, row.ours),
            Text(row.why, style="dim"),
        )
    console().print()
    console().print(table)


def _print_score(rows: Sequence[Row]) -> None:
    wrong = sum(row.reference != row.allowed for row in rows)
    ours = sum(row.ours != row.allowed for row in rows)
    console().print(f"\n{len(rows)} flows: the reference gets {wrong} wrong, udp-security {ours}.")


def _fate(row: Row, passed: bool) -> Text:
    text = "passes" if passed else "denied"
    if passed == row.allowed:
        return Text(text, style="green")
    return Text(f"{text} !", style="bold red")


def _event(event: Event) -> Text:
    style = "green" if event.good else "bold red"
    return Text.assemble(f"  {event.title}: ", (event.outcome, style))
