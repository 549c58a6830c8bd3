# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Fixtures of the tests that run the addon's scripts in a fake K2s."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.k2s.cli import Cli
from tests.k2s.cluster import Cluster
from tests.k2s.host import Host
from tests.k2s.tree import K2s, installed
from tests.windows.conftest import helm, pwsh

__all__ = ["helm", "pwsh"]


@pytest.fixture
def k2s(pwsh: str, helm: str, tmp_path: Path) -> Iterator[K2s]:
    """A K2s on a Windows host, with the addon as an import leaves it, not enabled."""
    with installed(tmp_path) as k2s:
        yield k2s


@pytest.fixture
def host(k2s: K2s) -> Host:
    return k2s.host


@pytest.fixture
def cluster(k2s: K2s) -> Cluster:
    return k2s.cluster


@pytest.fixture
def cli(k2s: K2s) -> Cli:
    """The command `k2s`."""
    return Cli(k2s)
