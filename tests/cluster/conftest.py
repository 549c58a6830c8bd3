# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Fixtures: a fake cluster, and the command line that works on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.cli.conftest import helm
from tests.cluster.cluster import Cluster, make_certificate, running
from tests.k2s.artifact_places import tool

from udp_security.cli import patience
from udp_security.cli.main import cli
from udp_security.cluster import namespace, removal, rollout

__all__ = ["helm"]

# Before a command that gets Ctrl-C: tests in a shell's background hand on that it is ignored.
LISTENING = ("env", "--default-signal=INT")

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine's progress is no output to compare with."""
    monkeypatch.setattr(patience, "_AFTER", 60.0)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tool("openssl")
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def cluster(
    helm: str, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    """It is what $KUBECONFIG names. No command waits longer than it must."""
    for module in (rollout, removal, namespace):
        monkeypatch.setattr(module, "_POLL", 0.05)
    monkeypatch.setattr(rollout, "_SETTLING", 0.3)
    with running(tmp_path, certificate) as cluster:
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        # Helm's caches and kubectl's.
        monkeypatch.setenv("HOME", str(tmp_path))
        yield cluster


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line in an empty folder: `run("enable", "--mode", "audit")`."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, arguments, input=stdin, prog_name="udp-security")

    return invoke
