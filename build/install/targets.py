# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Which things each make target needs, and their installation one after another.

What is here is found without the network. Where something can't be installed, `test` and `lint`
go on without it, loudly, unless CI=true; nothing else does.
"""

import fcntl
import os
from collections.abc import Callable

import debian
import environment
import golang
import helm
import kernel
import kubectl
import lockers
import powershell
import promtool
import schemas
from project import TOOLS
from report import Missing, say


def _kubeconform() -> None:
    golang.install("kubeconform", package="github.com/yannh/kubeconform/cmd/kubeconform")


def _chart_testing() -> None:
    golang.install("ct", package="github.com/helm/chart-testing/v3/ct")


_BASE = (debian.install_python, environment.install)
_NEEDS: dict[str, tuple[Callable[[], None], ...]] = {
    "demo": (*_BASE, debian.install_lab, kernel.load_bridge_filter, helm.install_for_demo),
    "bench": (
        *_BASE,
        debian.install_lab,
        debian.install_compiler,
        kernel.load_bridge_filter,
        helm.install_for_demo,
    ),
    "test": (
        *_BASE,
        debian.install_lab,
        debian.install_compiler,
        kernel.load_bridge_filter,
        helm.install_for_tests,
        helm.install_helm3,
        kubectl.install,
        promtool.install,
        powershell.find,
    ),
    "lint": (
        *_BASE,
        debian.install_git,
        helm.install_for_tests,
        _kubeconform,
        schemas.install,
        _chart_testing,
    ),
    "generate": (*_BASE, helm.install_for_tests),
    "lock": (debian.install_python, lockers.install),
}
_CAN_GO_ON = ("test", "lint")


def install(target: str) -> int:
    """Install for one target; the exit code."""
    strict = target not in _CAN_GO_ON or os.environ.get("CI") == "true"
    TOOLS.mkdir(exist_ok=True)
    with open(TOOLS / "lock", "w") as lock:
        # Two makes at once would install over each other.
        fcntl.flock(lock, fcntl.LOCK_EX)
        for step in _NEEDS[target]:
            try:
                step()
            except Missing as missing:
                say(f"MISSING: {missing}")
                if strict or step in _BASE:
                    return 1
                say(f"'make {target}' goes on, WITHOUT what needs it")
    return 0
