# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""All places that tell the addon's version tell the same one."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

import pytest
import yaml

from .artifact_places import ADDON, MANIFESTS, ROOT


def _read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


VERSION = _read("addons/udp-security/chart/Chart.yaml")["version"]


def test_it_is_a_plain_version() -> None:
    """K2s's pollers of registries sort X.Y.Z alone."""
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)


def test_chart() -> None:
    assert _read("addons/udp-security/chart/Chart.yaml")["appVersion"] == VERSION


def test_addon_manifest() -> None:
    """A string: K2s would export a number as 1.0.0."""
    manifest = _read("addons/udp-security/addon.manifest.yaml")
    (implementation,) = manifest["spec"]["implementations"]
    assert implementation["version"] == VERSION
    assert isinstance(implementation["version"], str)


def test_pyproject() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.findall(r'^version = "(.*)"$', text, flags=re.MULTILINE) == [VERSION]


def test_python_package() -> None:
    assert metadata.version("udp-security") == VERSION


def test_packaged_chart() -> None:
    names = [path.name for path in (MANIFESTS / "chart").iterdir()]
    assert names == [f"udp-security-{VERSION}.tgz"]


@pytest.mark.parametrize("system", ["linux", "windows"])
def test_rendered_manifests(system: str) -> None:
    labels = _read(f"addons/udp-security/manifests/{system}-daemonset.yaml")["metadata"]["labels"]
    assert labels["app.kubernetes.io/version"] == VERSION
    assert labels["helm.sh/chart"] == f"udp-security-{VERSION}"


def test_the_sync_job_runs_in_the_charts_image() -> None:
    """The image of Windows nodes, which K2s's releases change, is named in two more places."""
    job = _read("tooling/udp_security/k2s/gitops_sync/sync-job.yaml")
    image = _read("addons/udp-security/chart/values.yaml")["windows"]["image"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{image['repository']}:{image['tag']}"


def test_only_one_addon_manifest_is_below_the_addon() -> None:
    """K2s takes each for an addon, and one bad one breaks all its commands."""
    assert list(ADDON.rglob("addon.manifest.yaml")) == [ADDON / "addon.manifest.yaml"]
