# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Enabling: install, wait, prove; and back again by itself when any of that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from udp_security.cluster.client import Client, ClusterError
from udp_security.cluster.dns import assert_dns
from udp_security.cluster.facts import facts_of
from udp_security.cluster.namespace import create_namespace, has_namespace
from udp_security.cluster.nodes import nodes_of
from udp_security.cluster.plan import plan
from udp_security.cluster.release import Release, Revision
from udp_security.cluster.removal import by_command, remove_everything
from udp_security.cluster.rollout import InForce, Say, wait_in_force
from udp_security.values import validation
from udp_security.values.merge import Values
from udp_security.values.problem import ValuesProblem

# Seconds to be back where it began.
_BACK = 120.0


class InvalidValuesError(ClusterError):
    """The values are not valid with this cluster's addresses. Nothing was changed."""

    def __init__(self, problems: Sequence[ValuesProblem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class EnablingFailedError(ClusterError):
    """The policy did not come into force; the message says why, and what is in force now."""


@dataclass(frozen=True)
class Enabled:
    """The release's revision, the one that it replaced (0: none), and what is in force where.

    `values` are those in effect, with the chart's defaults.
    """

    revision: int
    replaced: int
    values: dict[str, Any]
    in_force: InForce


class Enabling:
    """One attempt. `state` tells what an interruption at this moment leaves behind."""

    def __init__(self, release: Release, say: Say) -> None:
        self._release = release
        self._say = say
        self.state = "Nothing was changed."

    async def enable(
        self, client: Client, chart: Path, values: Values, timeout: float, *, keep: bool
    ) -> Enabled:
        """Installs the chart, or upgrades the release, and waits until the policy is in force.

        `values` are valid ones; `keep` lays them over those of a release that is there already.
        `timeout`: seconds for the nodes that are ready. Raises ClusterError: before anything is
        changed, or, as EnablingFailedError, after all was taken back.
        """
        self._say("Looking at the cluster")
        facts = await facts_of(client, await nodes_of(client))
        before = await self._begin()
        kept = await self._release.values() if keep and before.deployed else None
        if kept is not None:
            self._say("The release is there already: its values are kept")
        planned = plan(values, kept, facts)
        if problems := validation.check(planned.values, chart):
            raise InvalidValuesError(problems)
        for note in planned.notes:
            self._say(note)
        had_namespace = await has_namespace(client)
        try:
            return await self._install(client, chart, planned.values, before, timeout)
        except Exception as error:
            # Whatever it was: half of it must not stay.
            outcome = await self._go_back(client, before, keep_namespace=had_namespace)
            raise EnablingFailedError(f"{error}. {outcome}") from error

    async def _begin(self) -> Revision:
        """Where the release stands, after work that Helm did not end was taken back."""
        revision = await self._release.revision()
        if not revision.pending:
            return revision
        self._say("Helm was ended in the middle of its work here: taking that back first")
        self.state = "Unfinished work of Helm's was being taken back: enable again, or disable."
        if revision.deployed:
            await self._release.undo(revision.deployed)
        else:
            await self._release.uninstall()
        return await self._release.revision()

    async def _install(
        self, client: Client, chart: Path, values: Values, before: Revision, timeout: float
    ) -> Enabled:
        self._say("Installing the agents")
        self.state = (
            "Helm was ended in the middle of its work: 'udp-security enable' begins anew, "
            "'udp-security disable' takes everything away."
        )
        await create_namespace(client)
        await self._release.install(chart, values.overrides)
        revision = (await self._release.revision()).latest
        self.state = (
            f"Revision {revision} is installed, and the agents go on bringing it into force: "
            "'udp-security status' tells how far they are, 'udp-security disable' takes it away."
        )
        if before.deployed:
            self.state += (
                f" The policy from before: 'helm rollback udp-security {before.deployed} "
                "-n udp-security'."
            )
        self._say("Waiting until the policy is in force")
        in_force = await wait_in_force(client, timeout, self._say)
        if values.merged["mode"] == "enforce":
            self._say("Asking cluster DNS")
            await assert_dns(client, in_force.nodes, self._say)
        return Enabled(revision, before.deployed, values.merged, in_force)

    async def _go_back(self, client: Client, before: Revision, *, keep_namespace: bool) -> str:
        """Brings the state before back; one sentence on how that went."""
        self._say("Taking everything back")
        self.state = (
            "It was being taken back, not to the end: 'udp-security disable' takes everything away."
        )
        try:
            if before.deployed:
                if (await self._release.revision()).latest > before.latest:
                    await self._release.undo(before.deployed)
                    await wait_in_force(client, _BACK, self._say)
                return "The policy that was in force before is in force again"
            left = await remove_everything(
                client, self._release, _BACK, self._say, namespace=not keep_namespace
            )
        except ClusterError as error:
            return f"Going back failed as well: {error}. Run 'udp-security disable'"
        if left:
            places = "; ".join(
                f"{nodes} (run there: {do})" for do, nodes in by_command(left).items()
            )
            return f"Everything was taken back, but rules may be left on {places}"
        return "Everything was taken back: no UDP traffic is denied"
