# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What an upgrade of K2s does to an addon, in its order."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.k2s.artifact_places import ADDON
from tests.k2s.cli import quoted
from tests.k2s.tree import K2s, exported_addon


def upgrade(
    k2s: K2s, addon: Callable[[Path], object] = exported_addon, *, orphans: bool = True
) -> subprocess.CompletedProcess[str]:
    """Replace an installation by another with its own addon's folder. What the last step did.

    Dumped are the namespace with its objects, Secrets (so Helm's releases) and, unless ``orphans``
    is false, pods; all come back before Enable.ps1 runs, written by kubectl.
    """
    names = [entry["Name"] for entry in k2s.setup()["EnabledAddons"]]
    cluster, helm = k2s.cluster, k2s.host.helm
    releases = dict(helm.releases)
    pods = list(cluster.pods) if orphans else []
    k2s.uninstall()
    for node in cluster.nodes:
        # A new control plane; on the Windows host the hook has removed the rules by now.
        node.rules = None
    assert k2s.firewall_rules() == []
    k2s.host.calls.clear()
    k2s.install(addon)
    for applied in cluster.objects.values():
        applied.manager = "kubectl"
    cluster.pods = pods
    helm.releases = releases
    cluster.settle()
    module = quoted(str(k2s.root / "addons" / "addons.module.psm1"))
    # As the upgrade itself, which goes on without an addon that threw.
    restore = f"Restore-Addons -Names {','.join(names)}"
    return k2s.pwsh("-Command", f'Import-Module {module}; try {{ {restore} }} catch {{ "$_" }}')


def newer_addon(target: Path) -> None:
    """The addon's folder in a later version, whose chart has one more rule allowed by default."""
    exported_addon(target)
    manifest = target / "addon.manifest.yaml"
    text = manifest.read_text(encoding="utf-8")
    assert 'version: "0.1.0"' in text
    manifest.write_text(text.replace('version: "0.1.0"', 'version: "0.2.0"'), encoding="utf-8")
    source = target.parent / "newer chart"
    shutil.copytree(ADDON / "chart", source)
    for name, old, new in (
        ("Chart.yaml", "0.1.0", "0.2.0"),
        ("values.yaml", "vpn: false", "vpn: true"),
    ):
        text = (source / name).read_text(encoding="utf-8")
        assert old in text
        (source / name).write_text(text.replace(old, new), encoding="utf-8")
    charts = target / "manifests" / "chart"
    with tarfile.open(charts / "udp-security-0.2.0.tgz", "w:gz") as archive:
        archive.add(source, "udp-security")
    shutil.rmtree(source)
