# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Which of the addon's files go into which layer: the same as K2s's own export takes."""

import hashlib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

from udp_security.k2s import archive, oci
from udp_security.k2s.addon import MANIFEST

_CONFIG = (
    MANIFEST,
    "values*.yaml",
    "settings.json",
    "*.config.json",
    "*.config.yaml",
    "config/**/*",
)
_SCRIPTS = (
    *("*.ps1", "*.psm1", "*.md", "*.json", "*.license", "LICENSE*"),
    *("*.png", "*.jpg", "*.jpeg", "*.gif", "*.svg", "*.drawio"),
)
_SYNC = "gitops-sync"


def contents(addon: Path) -> dict[oci.Layer, dict[str, bytes]]:
    """The files of each layer, {path: content}; images and packages are not among the addon's
    files.

    The manifests also get gitops-sync/, which the addon's folder must not have: kubectl could not
    apply it, and K2s would search it for images.
    """
    found = {
        oci.CONFIG_FILES: _read(addon, _CONFIG),
        oci.MANIFESTS: archive.tree(addon / "manifests"),
        oci.CHARTS: archive.tree(addon / "manifests" / "chart"),
        oci.SCRIPTS: _read(addon, [f"**/{pattern}" for pattern in _SCRIPTS]),
    }
    found[oci.MANIFESTS] |= _gitops_sync(found.values())
    return found


def _read(addon: Path, patterns: Iterable[str]) -> dict[str, bytes]:
    paths = {path for pattern in patterns for path in addon.glob(pattern) if path.is_file()}
    return {path.relative_to(addon).as_posix(): path.read_bytes() for path in paths}


def _gitops_sync(layers: Iterable[Mapping[str, bytes]]) -> dict[str, bytes]:
    digest = hashlib.sha256()
    for files in layers:
        digest.update(archive.tar(files))
    folder = resources.files("udp_security.k2s") / "gitops_sync"
    return {
        f"{_SYNC}/{file.name}": file.read_bytes().replace(
            b"CONTENT_SHA256", digest.hexdigest().encode()
        )
        for file in folder.iterdir()
        if file.name.endswith(".yaml")
    }
