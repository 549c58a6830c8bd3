# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the tests of the manifests and the artifact share: places, and programs on PATH."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
ADDON = ROOT / "addons" / "udp-security"
CHART = ADDON / "chart"
MANIFESTS = ADDON / "manifests"


def lacking(reason: str) -> NoReturn:
    """Skips the test; in CI, which has to run everything, fails it."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (run the tests with `make test`)")
    pytest.skip(f"{reason} (run the tests with `make test`)")


def tool(name: str) -> str:
    """A program's path. Without it the test can't run."""
    return shutil.which(name) or lacking(f"{name} is not on PATH")
