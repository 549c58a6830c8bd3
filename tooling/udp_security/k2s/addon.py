# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The addon's folder, and what its addon.manifest.yaml says it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from udp_security.chart import chart_dir

NAME = "udp-security"
MANIFEST = "addon.manifest.yaml"


class AddonError(Exception):
    """The addon's folder can't be packaged; the message says why and what to do."""


@dataclass(frozen=True)
class Addon:
    """What an addon.manifest.yaml says of its only implementation.

    `scripts` are the paths of its commands' scripts; `images` the references that must be there
    offline, by operating system.
    """

    name: str
    implementation: str
    version: str
    description: str
    scripts: tuple[str, ...]
    images: dict[str, tuple[str, ...]]


def addon_dir() -> Path:
    """The addon's folder, in an installed package and in a checkout. Raises ChartMissingError."""
    return chart_dir().parent


def load(folder: Path) -> Addon:
    """What the manifest in an addon's folder says. Raises AddonError."""
    path = folder / MANIFEST
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AddonError(f"there is no {path} (install the package again)") from None
    except ValueError as error:
        raise AddonError(f"{path}: {error}") from error


def parse(text: str) -> Addon:
    """Read an addon.manifest.yaml. Raises ValueError, which says what is wrong with it."""
    try:
        document: Any = yaml.safe_load(text)
        (implementation,) = document["spec"]["implementations"]
        commands = implementation["commands"].values()
        offline = implementation.get("offline_usage") or {}
        addon = Addon(
            name=document["metadata"]["name"],
            implementation=implementation["name"],
            version=implementation.get("version"),
            description=document["metadata"]["description"],
            scripts=tuple(command["script"]["subPath"] for command in commands),
            images={
                system: tuple((offline.get(system) or {}).get("additionalImages") or ())
                for system in ("linux", "windows")
            },
        )
    except yaml.YAMLError as error:
        raise ValueError(f"no YAML: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"not an addon manifest with one implementation: {error!r}") from error
    # K2s would export a version that is missing, or a number, as another one.
    if not isinstance(addon.version, str):
        raise ValueError(f"version is {addon.version!r} (write it as a string, in quotes)")
    texts = [addon.name, addon.implementation, addon.description, *addon.scripts]
    texts += [image for images in addon.images.values() for image in images]
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{text!r} must be a string")
    return addon
