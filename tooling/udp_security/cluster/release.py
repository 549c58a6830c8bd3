# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The Helm release, which is the one place where the values in use are kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from udp_security import helm
from udp_security.cluster.client import ClusterError, NoAccessError
from udp_security.k2s.manifests import NAMESPACE, RELEASE

# Seconds. Helm itself would wait for an API server that says nothing.
_TIMEOUT = 120.0


class HelmFailedError(ClusterError):
    """Helm did not do what it should; the message has its own words."""


@dataclass(frozen=True)
class Revision:
    """Where the release stands: its latest revision and the deployed one, each 0 for none.

    `pending`: Helm was ended in the middle of its work, and refuses any other until that is
    taken back.
    """

    latest: int = 0
    deployed: int = 0
    pending: bool = False


class Release:
    """What Helm does with the release. Every method raises HelmFailedError and NoAccessError.

    Helm never waits here: its own wait would undo everything for one node that is off.
    """

    def __init__(self, executable: str, kubeconfig: str | None, context: str | None) -> None:
        """Raises HelmMissingError."""
        self._executable = executable
        self._kubeconfig = kubeconfig
        self._context = context
        # Whoever changed the objects last, their fields become Helm's. Helm 3 always does so.
        self._forced = (
            ["--server-side=true", "--force-conflicts"] if helm.version(executable)[0] > 3 else []
        )

    async def revision(self) -> Revision:
        try:
            entries = json.loads(await self._run("history", RELEASE, "--output", "json"))
        except HelmFailedError as error:
            if "release: not found" in str(error):
                return Revision()
            raise
        deployed = [entry["revision"] for entry in entries if entry["status"] == "deployed"]
        return Revision(
            latest=entries[-1]["revision"],
            deployed=max(deployed, default=0),
            pending=entries[-1]["status"].startswith("pending-"),
        )

    async def values(self) -> dict[str, Any]:
        """The values that were given to it."""
        found = json.loads(await self._run("get", "values", RELEASE, "--output", "json"))
        return found or {}

    async def install(self, chart: Path, values: Mapping[str, Any]) -> None:
        """Installs it, or upgrades it to exactly these values."""
        await self._run(
            "upgrade",
            RELEASE,
            str(chart),
            "--install",
            "--take-ownership",
            # Without it, Helm keeps the old values where the new ones are empty.
            "--reset-values",
            *self._forced,
            "--values",
            "-",
            stdin=helm.as_input(values).encode(),
        )

    async def undo(self, revision: int) -> None:
        """Goes back to a revision."""
        await self._run("rollback", RELEASE, str(revision), *self._forced)

    async def uninstall(self) -> None:
        """Uninstalls it, if it is there."""
        await self._run("uninstall", RELEASE, "--ignore-not-found")

    async def _run(self, *arguments: str, stdin: bytes | None = None) -> str:
        work = helm.run(
            self._executable,
            [*arguments, "--namespace", NAMESPACE],
            stdin,
            kubeconfig=self._kubeconfig,
            context=self._context,
        )
        try:
            return await asyncio.wait_for(work, _TIMEOUT)
        except (asyncio.TimeoutError, TimeoutError) as error:
            message = f"helm {arguments[0]} did not end within {_TIMEOUT:.0f} s"
            raise HelmFailedError(message) from error
        except helm.HelmRefusedError as error:
            kind = NoAccessError if "is forbidden" in str(error) else HelmFailedError
            raise kind(f"helm {arguments[0]} failed: {error}") from error
