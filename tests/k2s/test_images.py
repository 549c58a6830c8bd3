# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The images that K2s's export finds in the addon, by the rules that it goes by."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from udp_security.cli.main import cli

from . import artifact_reader
from .artifact_images import Images, in_addon, in_texts
from .artifact_places import ADDON, CHART, tool

LINUX = "docker.io/flannel/flannel:0.28.9"
WINDOWS = "shsk2s.azurecr.io/pause-win:v1.8.0"


@pytest.mark.parametrize(
    ("line", "linux", "windows"),
    [
        ("  image: a/b:1", "a/b:1", None),
        ("- image: a/b:1", "a/b:1", None),
        ("image: 'a/b:1'", "a/b:1", None),
        ('image: "a/b:1"\r', "a/b:1", None),
        ("IMAGE: a/b:1", "a/b:1", None),
        ("baseImage: a/b:1", "a/b:1", None),
        ("image: a/b:1 # why", "a/b:1", None),
        ("x: y # image: a/b:1", "a/b:1", None),
        ("# image: a/b:1", None, None),
        ("  # image: a/b:1", None, None),
        ("image:\ta/b:1", None, None),
        ("image:a/b:1", None, None),
        ("image: a/b", None, None),
        ("image:", None, None),
        ('{"image": "a/b:1"}', None, None),
        ('image: "a/b:1" # why', 'a/b:1"', None),
        ('image: "a/b:1" ', 'a/b:1"', None),
        ("image: a/b:1 #windows_image", None, "a/b:1"),
        ("image: a/b:1#windows_image", None, "a/b:1"),
        ('image: "a/b:1" #windows_image', None, 'a/b:1"'),
        ("image: a/b:1 # windows_image", "a/b:1", None),
        ("image: a/b:1 #WINDOWS_IMAGE", "a/b:1", None),
        ('image: "{{ .a }}:{{ .b }}"', "{{ .a }}:{{ .b }}", None),
        ('image: {{ include "x" . }}', None, None),
        ('image: {{ include "x" . }} #windows_image', None, None),
        ("the image: is good:1", "is good:1", None),
    ],
)
def test_what_a_line_names(line: str, linux: str | None, windows: str | None) -> None:
    found = in_texts([line])
    assert found.linux == ([linux] if linux else [])
    assert found.windows == ([windows] if windows else [])


def test_a_file_can_be_excluded() -> None:
    assert in_texts(["image: a/b:1\n## exclude-from-export\n", "image: c/d:2\n"]).linux == ["c/d:2"]


def test_each_image_counts_once_with_those_for_offline_use() -> None:
    offline = {"linux": {"additionalImages": ["a/b:1", "c:2"]}, "windows": {"curl": []}}
    assert in_texts(["image: a/b:1\n", "image: 'a/b:1'\n"], offline) == Images(["a/b:1", "c:2"])


@pytest.mark.parametrize(
    "image", ['a/b:1"', "{{ .a }}:{{ .b }}", '{{ .x | default "a:1', "is good:1", "{name: x:1}"]
)
def test_what_no_registry_can_have_ends_the_export(image: str) -> None:
    assert Images([image]).not_pulled == [image]


@pytest.mark.parametrize("image", ["a.b:5000/c:1", "a/b:1@sha256:" + "0" * 64])
def test_what_is_pulled_and_then_lost(image: str) -> None:
    found = Images([image])
    assert (found.not_pulled, found.not_exported) == ([], [image])


def rendered(chart: Path, to: Path) -> list[str]:
    """The files that the export searches: the packaged chart, rendered with its defaults."""
    release = re.sub(r"-[^-]*$", "", chart.name)
    command = [tool("helm"), "template", release, str(chart), "--output-dir", str(to)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return [path.read_text(encoding="utf-8") for path in to.rglob("*.yaml")]


def images_of(addon: Path, folder: Path) -> Images:
    (chart,) = (addon / "manifests" / "chart").glob("*.tgz")
    texts = rendered(chart, folder / "helm")
    assert texts
    return in_addon(addon, texts)


def test_the_addon_as_it_is(tmp_path: Path) -> None:
    found = images_of(ADDON, tmp_path)
    assert found == Images([LINUX], [WINDOWS])
    assert (found.not_pulled, found.not_exported) == ([], [])


def test_the_addon_after_an_import(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["package", "--output", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (file,) = tmp_path.glob("*.oci.tar")
    folder = artifact_reader.read(file).import_into(tmp_path / "addons")
    assert images_of(folder, tmp_path) == Images([LINUX], [WINDOWS])


def test_the_manifests_alone_name_them() -> None:
    """So an export has them even where its Helm can't render the chart."""
    texts = [path.read_text(encoding="utf-8") for path in (ADDON / "manifests").glob("*.yaml")]
    assert in_texts(texts) == Images([LINUX], [WINDOWS])


def test_the_manifest_names_them_for_offline_use() -> None:
    manifest = yaml.safe_load((ADDON / "addon.manifest.yaml").read_text(encoding="utf-8"))
    offline = manifest["spec"]["implementations"][0]["offline_usage"]
    assert in_texts([], offline) == Images([LINUX], [WINDOWS])


@pytest.mark.parametrize(
    "file", sorted(CHART.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CHART))
)
def test_no_file_of_the_chart_names_an_image(file: Path) -> None:
    assert in_texts([file.read_text(encoding="utf-8")]) == Images()
