# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A suggestion in text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import click

from udp_security.cli.denials_file import Silent
from udp_security.cli.differences import difference_as_json, print_difference
from udp_security.cli.inputs import console
from udp_security.policy.denied import DeniedFlow, as_json, time_text
from udp_security.policy.difference import Difference
from udp_security.policy.eligibility import LeftOut
from udp_security.policy.model import address_text
from udp_security.policy.suggestion import SuggestedPreset, SuggestedRule, Suggestion
from udp_security.values.edit import Addition, fragment

# Of each kind, in text.
_SHOWN = 5


def addition(suggestion: Suggestion) -> Addition:
    """What is to be added to a values file, with the reasons as comments."""
    return Addition(
        rules=[(each.rule, each.reasons) for each in suggestion.rules],
        presets=[(each.preset, each.reasons) for each in suggestion.presets],
    )


def print_suggestion(
    suggestion: Suggestion, difference: Difference, *, stderr: bool = False
) -> None:
    """The YAML to paste, what was left out and why, and the change in meaning."""
    echo = partial(click.echo, err=stderr)
    if new := addition(suggestion):
        parts = [_count(len(suggestion.presets), "preset"), _count(len(suggestion.rules), "rule")]
        # Networks may overlap, and then two rules are for the same flow.
        each_once = dict.fromkeys(f for each in _suggested(suggestion) for f in each.flows)
        echo(
            f"Suggested: {' and '.join(filter(None, parts))} for {_size([*each_once])}. "
            "Denials can be forged: judge each."
        )
        echo(f"\n{fragment(new)}", nl=False)
    else:
        echo("Nothing to suggest.")
    if suggestion.left_out:
        echo("\nLeft out:")
    for left in suggestion.left_out:
        echo(f"  {_size(left.flows)}: {left.why}")
        by_packets = sorted(left.flows, key=lambda flow: -flow.packets)
        for flow in by_packets[:_SHOWN]:
            echo(f"    {_flow(flow)}")
        if len(left.flows) > _SHOWN:
            echo(f"    and {len(left.flows) - _SHOWN:,} more (-o json has all)")
    if suggestion.allowed:
        echo(f"\nAllowed already: {_count(suggestion.allowed, 'flow')}")
    if new:
        echo("\nThe change in meaning:")
        print_difference(difference, console(stderr=stderr))


def suggestion_as_json(
    suggestion: Suggestion,
    difference: Difference,
    silent: Sequence[Silent],
    written: str | None,
) -> dict[str, Any]:
    """What `suggest -o json` prints; `written` is the file that has it now."""
    return {
        "schemaVersion": 1,
        "presets": [{"preset": each.preset, **_grounds(each)} for each in suggestion.presets],
        "rules": [{"rule": dict(each.rule), **_grounds(each)} for each in suggestion.rules],
        "leftOut": [_left_as_json(left) for left in suggestion.left_out],
        "allowedAlready": suggestion.allowed,
        "silentNodes": [each._asdict() for each in silent],
        "difference": difference_as_json(difference),
        "written": written,
    }


def _grounds(each: SuggestedRule | SuggestedPreset) -> dict[str, Any]:
    times = [flow.last_seen for flow in each.flows if flow.last_seen]
    return {
        "flows": len(each.flows),
        "packets": sum(flow.packets for flow in each.flows),
        "lastSeen": time_text(max(times)) if times else None,
        "nodes": sorted({node for flow in each.flows for node in flow.nodes}),
        "reasons": list(each.reasons),
    }


def _left_as_json(left: LeftOut) -> dict[str, Any]:
    return {"kind": left.kind, "why": left.why, "flows": [as_json(flow) for flow in left.flows]}


def _suggested(suggestion: Suggestion) -> Iterable[SuggestedRule | SuggestedPreset]:
    return (*suggestion.presets, *suggestion.rules)


def _size(flows: Sequence[DeniedFlow]) -> str:
    packets = sum(flow.packets for flow in flows)
    return f"{_count(len(flows), 'denied flow')} ({_count(packets, 'packet')})"


def _count(number: int, what: str) -> str:
    """Nothing for none."""
    return f"{number:,} {what}{'' if number == 1 else 's'}" if number else ""


def _flow(flow: DeniedFlow) -> str:
    ends = [
        f"{address_text(address)}{f' ({name})' if name else ''}"
        for address, name in (
            (flow.source, flow.source_name),
            (flow.destination, flow.destination_name),
        )
    ]
    return (
        f"{flow.direction} {ends[0]} -> {ends[1]} port {flow.port}, "
        f"{_count(flow.packets, 'packet') or 'no packets'}"
    )
