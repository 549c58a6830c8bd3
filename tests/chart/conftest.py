# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Fixtures of the chart's tests: the Helms, and nft."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from udp_security.lab import sandbox

from .support import Helm, Rendered, Values

Render = Callable[..., Rendered]
Load = Callable[[str], None]


def _lacking(reason: str) -> None:
    """Skips the test; in CI, which has to run everything, fails it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def helm() -> Helm:
    """The Helm 4 on PATH."""
    path = shutil.which("helm")
    if path is None:
        _lacking("Helm is not on PATH (run the tests with `make test`)")
    return Helm(str(path))


@pytest.fixture(scope="session")
def helm3() -> Helm:
    """The Helm 3 that UDP_SECURITY_HELM3 names."""
    path = os.environ.get("UDP_SECURITY_HELM3")
    if not path:
        _lacking("UDP_SECURITY_HELM3 does not name a Helm 3 (run the tests with `make test`)")
    return Helm(str(path))


@pytest.fixture(scope="session", params=["helm", "helm3"])
def either_helm(request: pytest.FixtureRequest) -> Helm:
    """Helm 4, then Helm 3."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Helm)
    return found


@pytest.fixture(scope="session")
def render(helm: Helm) -> Render:
    """Renders values (and Helm.template's options) with Helm 4, for the nodes of `os`."""

    def rendered(values: Values | None = None, os: str = "linux", **options: Any) -> Rendered:
        return Rendered(helm.template(values, **options), os)

    return rendered


# What fits the socket's buffer, which only root of the machine may make larger.
_ROOTLESS_BYTES = 100_000


@pytest.fixture(scope="session")
def load() -> Load:
    """Asserts that nft accepts a ruleset, in a fresh network namespace."""
    if shutil.which("nft") is None or shutil.which("unshare") is None:
        _lacking("nft and unshare are not on PATH (run the tests with `make test`)")
    namespace = (
        ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    )
    probe = subprocess.run([*namespace, "true"], check=False, capture_output=True, text=True)
    if probe.returncode != 0:
        _lacking(
            f"no network namespace: {probe.stderr.strip()} (allow unprivileged user namespaces)"
        )

    def loaded(ruleset: str) -> None:
        if len(ruleset) > _ROOTLESS_BYTES and (os.geteuid() or sandbox.rootless()):
            pytest.skip("without root the kernel takes no transaction this large (wmem_max)")
        _run([*namespace, "nft", "--check", "--file", "-"], ruleset)

    return loaded


# Loads standard input, and then what nft lists of it in the place of that.
_RELOAD = r"""
nft -f - && listed=$(nft list ruleset) || exit
nft flush ruleset
printf '%s\n' "$listed" | nft -f - && again=$(nft list ruleset) || exit
[ "$listed" = "$again" ] || { printf '%s\n' "$listed" "$again"; exit 1; }
"""


@pytest.fixture(scope="session")
def reload(load: Load) -> Load:
    """Asserts that nft lists a ruleset in a form that it takes, too, and that means the same."""

    def reloaded(ruleset: str) -> None:
        load(ruleset)
        root = [] if os.geteuid() == 0 else ["--map-root-user"]
        _run(["unshare", *root, "--net", "sh", "-c", _RELOAD], ruleset)

    return reloaded


def _run(command: list[str], stdin: str) -> None:
    done = subprocess.run(
        command, check=False, input=stdin, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, (done.stderr or done.stdout)[:2000]
