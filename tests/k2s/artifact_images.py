# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Finds images as K2s's export does, and tells what becomes of each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_EXCLUDED = "## exclude-from-export"
_MARK = "#windows_image"
_REFERENCE = re.compile(r"[a-z0-9][\w.-]*(:\d+)?(/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?")


@dataclass
class Images:
    """The references that an export pulls, as it reads them."""

    linux: list[str] = field(default_factory=list)
    windows: list[str] = field(default_factory=list)

    @property
    def not_pulled(self) -> list[str]:
        """What no registry can have: the first of these ends the export."""
        return [image for image in self._all if not _REFERENCE.fullmatch(image)]

    @property
    def not_exported(self) -> list[str]:
        """What is pulled, but not found again by K2s's split at the first colon."""
        pulled = [image for image in self._all if image not in self.not_pulled]
        return [image for image in pulled if image.count(":") != 1]

    @property
    def _all(self) -> list[str]:
        return [*self.linux, *self.windows]


def in_texts(texts: Iterable[str], offline: Any = None) -> Images:
    """The images that the lines of files name, and those of a manifest's offline_usage."""
    found = Images()
    for text in texts:
        if _EXCLUDED in text:
            continue
        for line in text.splitlines():
            image = _image(line)
            if image is not None:
                (found.windows if _MARK in line else found.linux).append(image)
    for system, images in (("linux", found.linux), ("windows", found.windows)):
        also = ((offline or {}).get(system) or {}).get("additionalImages") or []
        trimmed = [image.strip("\"'").strip(" ") for image in [*images, *also]]
        images[:] = dict.fromkeys(trimmed)
    return found


def in_addon(addon: Path, rendered: Iterable[str]) -> Images:
    """The images of an addon's folder; `rendered` are its charts' manifests."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(addon.rglob("*.yaml"))]
    manifest = yaml.safe_load((addon / "addon.manifest.yaml").read_text(encoding="utf-8"))
    (implementation,) = manifest["spec"]["implementations"]
    return in_texts([*texts, *rendered], implementation["offline_usage"])


def _image(line: str) -> str | None:
    """The text that the line is taken to name, quotes and blanks still around it."""
    if line.lstrip().startswith("#"):
        return None
    _, *after = re.split("image: ", line, flags=re.IGNORECASE)
    image = after[0].split("#")[0] if after else ""
    return image if ":" in image else None
