# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Fixtures of the command line's tests."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from udp_security.cli.main import cli

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs the command line in an empty folder: `run("validate", "-f", "v.yaml", stdin=...)`."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, stdin: str | bytes | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, input=stdin, prog_name="udp-security")

    yield invoke


@pytest.fixture(scope="session")
def helm() -> str:
    """Helm's path. Without Helm a test is skipped, in CI it fails."""
    found = shutil.which("helm")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Helm is not on PATH (run the tests with `make test`)")
        pytest.skip("Helm is not on PATH (run the tests with `make test`)")
    return found
