# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""K2s exports the images that it finds, line by line, in the chart's YAML files and in what it
renders: the files must name none, the manifests ours, each with those of its operating system.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .support import CHART, Helm

WINDOWS = "#windows_image"


def images_of(text: str) -> list[str]:
    """The references that K2s finds, with quotes and templates taken literally as it does; those
    for Windows with their mark.
    """
    if "## exclude-from-export" in text:
        return []
    found = []
    for line in text.splitlines():
        match = re.search(r"image: +(.+)$", line, flags=re.IGNORECASE)
        if match and not line.startswith("#"):
            reference, mark, _ = match[1].partition(WINDOWS)
            reference = reference.partition(" #")[0].strip().strip("\"'")
            if ":" in reference:
                found.append(reference + mark)
    return found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("  image: a/b:1", ["a/b:1"]),
        ('- image: "a/b:1"\r', ["a/b:1"]),
        ("baseImage: a/b:1", ["a/b:1"]),
        ("x: y # image: a/b:1", ["a/b:1"]),
        ("# image: a/b:1", []),
        ("image: a/b", []),
        ("image:\ta:1", []),
        ("image:", []),
        ("image: {{ .a }}:{{ .b }}", ["{{ .a }}:{{ .b }}"]),
        ('image: {{ include "x" . }}', []),
        ("the image: is good:1", ["is good:1"]),
        ("image: a/b:1 # why", ["a/b:1"]),
        ("image: a/b:1 # windows_image", ["a/b:1"]),
        ("image: a/b:1 #WINDOWS_IMAGE", ["a/b:1"]),
        ("image: a/b:1 #windows_image", ["a/b:1#windows_image"]),
        ("image: a/b:1#windows_image", ["a/b:1#windows_image"]),
        ('image: {{ include "x" . }} #windows_image', []),
    ],
)
def test_the_rules_as_k2s_has_them(line: str, found: list[str]) -> None:
    assert images_of(line) == found


@pytest.mark.parametrize(
    "file", sorted(CHART.rglob("*.yaml")), ids=lambda file: str(file.relative_to(CHART))
)
def test_no_file_of_the_chart_names_an_image(file: Path) -> None:
    assert images_of(file.read_text(encoding="utf-8")) == []


def test_the_rendered_chart_names_its_images(helm: Helm) -> None:
    assert images_of(helm.template()) == [
        "docker.io/flannel/flannel:0.28.9",
        "shsk2s.azurecr.io/pause-win:v1.8.0#windows_image",
    ]
