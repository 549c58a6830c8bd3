# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The way of a flow's packet through a Windows host's firewall (docs/windows.md)."""

from __future__ import annotations

from collections.abc import Iterator

from udp_security.cli.path import Packet, Step, ended

_HOOK = "firewall"
_OTHERS = Step(_HOOK, "Windows' own rules and its profile's default decide")


def windows_path(packet: Packet) -> list[Step]:
    """The steps of a packet of the host itself; those of its pods no policy judges."""
    return ended(_steps(packet))


def _steps(packet: Packet) -> Iterator[Step]:
    inbound = packet.flow.direction == "ingress"
    process = Step("process", "the host's process")
    far = (
        f"comes in from {packet.flow.source}"
        if inbound
        else f"goes out to {packet.flow.destination}"
    )
    wire = Step("wire", far)
    yield wire if inbound else process
    yield from _judgement(packet)
    yield process if inbound else wire


def _judgement(packet: Packet) -> Iterator[Step]:
    policy, flow, decision = packet.policy, packet.flow, packet.decision
    if policy.mode == "audit":
        denied = decision.verdict == "deny"
        what = "no rule allows it, but Windows" if denied else "Windows"
        yield Step(_HOOK, f"audit: {what} gets no rules", "would deny" if denied else "passes")
        yield _OTHERS
        return
    yield Step(_HOOK, "our rules are in every profile; one that is off filters nothing")
    if not decision.judged:
        yield Step(_HOOK, f"scope {policy.scope}: no rule of ours names it", "accepts")
        yield _OTHERS
        return
    every = "every flow" if policy.scope == "host" else "the remote end is in the cluster"
    yield Step(_HOOK, f"scope {policy.scope}: {every}: judged")
    if not decision.rules:
        yield Step(_HOOK, "block rules: all that no rule allows is blocked", "denies")
        yield Step(_HOOK, "allow rules: a block beats them")
        return
    yield Step(_HOOK, "block rules: none of ours; one of others would beat every allow")
    name = decision.rules[0].name
    if flow.direction == "ingress":
        yield Step(_HOOK, f"allow rules: that of {name}: ALLOW", "accepts")
    else:
        yield Step(_HOOK, f"outbound is open by default: ALLOW, as {name} says", "accepts")
