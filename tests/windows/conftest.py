# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Fixtures of the tests that run PowerShell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import helm, run
from tests.windows.agents import Node
from tests.windows.windows import FakeWindows

from udp_security.windows import pwsh as powershell

__all__ = ["helm", "run"]  # the command line's fixtures are these tests' too


@pytest.fixture(scope="session")
def pwsh() -> str:
    """Path of pwsh. Skips where there is none, but not on CI."""
    try:
        return powershell.find()
    except powershell.PwshMissingError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture
def windows(pwsh: str, tmp_path: Path) -> FakeWindows:
    """A Windows computer whose firewall runs and has no rules."""
    return FakeWindows(tmp_path)


@pytest.fixture
def node(windows: FakeWindows, tmp_path: Path) -> Iterator[Node]:
    """A node without any agent yet."""
    with Node(windows, tmp_path) as node:
        yield node
