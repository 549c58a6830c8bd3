# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Values with the cluster's own addresses, where the user's don't set cluster.*."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from udp_security.cli.inputs import chart
from udp_security.cli.patience import say
from udp_security.policy.model import CLUSTER_KEYS
from udp_security.values.load import ValuesFile
from udp_security.values.merge import Values
from udp_security.values.problem import ValuesProblem

if TYPE_CHECKING:
    from udp_security.cluster.plan import Plan

Report = Callable[[list[ValuesProblem]], None]


def from_cluster(plan: Plan, report: Report, exit_code: int) -> Values:
    """What `udp-security enable` would install; standard error says what of it was found.

    Values that are not valid with these addresses end the command with `exit_code`.
    """
    if plan.found:
        say(f"{_named(plan.found)}: the cluster's own, as the values don't set them")
    for note in plan.untold:
        click.echo(f"Note: {note}", err=True)
    if plan.uncovered:
        click.echo(f"Note: 'enable' refuses this in mode enforce: {plan.uncovered}", err=True)
    return _checked(plan.values, report, exit_code) if plan.found else plan.values


def from_denials(
    values: Values, cluster: Mapping[str, Sequence[str]] | None, report: Report, exit_code: int
) -> Values:
    """The same with the addresses that are saved with denials (None, or a list empty: unknown)."""
    own = values.overrides.get("cluster") or {}
    missing = [key for key in CLUSTER_KEYS if key not in own]
    found = {key: list(cluster[key]) for key in missing if cluster and cluster.get(key)}
    if unknown := [key for key in missing if key not in found]:
        click.echo(
            f"Note: {_named(unknown)}: the chart's defaults, which are K2s's (the denials don't "
            "tell the cluster's: set them if those are wrong)",
            err=True,
        )
    if not found:
        return values
    say(f"{_named(found)}: those saved with the denials, as the values don't set them")
    file = ValuesFile("the saved denials", json.dumps({"cluster": found}))
    return _checked(values.over(file), report, exit_code)


def _checked(values: Values, report: Report, exit_code: int) -> Values:
    # Imported here since it is slow.
    from udp_security.values import validation  # noqa: PLC0415

    if problems := validation.check(values, chart()):
        report(problems)
        raise click.exceptions.Exit(exit_code)
    return values


def _named(keys: Iterable[str]) -> str:
    return ", ".join(f"cluster.{key}" for key in keys)
