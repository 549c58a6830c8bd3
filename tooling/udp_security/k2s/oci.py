# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The words of K2s's addon artifacts: media types, names of layers, annotations."""

from typing import Final, NamedTuple

from udp_security.k2s.addon import Addon

SUFFIX: Final = ".oci.tar"

LAYOUT_FILE: Final = "oci-layout"
LAYOUT_VERSION: Final = "1.0.0"
INDEX_FILE: Final = "index.json"
BLOBS: Final = "blobs/sha256/"

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT: Final = "application/vnd.k2s.addon.v1"
CONFIG: Final = "application/vnd.k2s.addon.config.v1+json"

TITLE: Final = "org.opencontainers.image.title"
REFERENCE: Final = "org.opencontainers.image.ref.name"


class Layer(NamedTuple):
    """A layer's title (the value of the annotation TITLE) and media type."""

    title: str
    media_type: str


CONFIG_FILES: Final = Layer("config.tar.gz", "application/vnd.k2s.addon.configfiles.v1.tar+gzip")
MANIFESTS: Final = Layer("manifests.tar.gz", "application/vnd.k2s.addon.manifests.v1.tar+gzip")
CHARTS: Final = Layer("charts.tar.gz", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
SCRIPTS: Final = Layer("scripts.tar.gz", "application/vnd.k2s.addon.scripts.v1.tar+gzip")
IMAGES_LINUX: Final = Layer("images-linux.tar", "application/vnd.oci.image.layer.v1.tar")
IMAGES_WINDOWS: Final = Layer(
    "images-windows.tar", "application/vnd.k2s.addon.images-windows.v1.tar"
)
PACKAGES: Final = Layer("packages.tar.gz", "application/vnd.k2s.addon.packages.v1.tar+gzip")

#: In the order they have in an artifact.
LAYERS: Final = (
    CONFIG_FILES,
    MANIFESTS,
    CHARTS,
    SCRIPTS,
    IMAGES_LINUX,
    IMAGES_WINDOWS,
    PACKAGES,
)
#: Those that hold images, by the nodes' operating system.
IMAGES: Final = {"linux": IMAGES_LINUX, "windows": IMAGES_WINDOWS}
#: Those that this addon can't do without.
REQUIRED: Final = (CONFIG_FILES, MANIFESTS, CHARTS, SCRIPTS)


def annotations(addon: Addon) -> dict[str, str]:
    """The annotations that tell an importer which addon a manifest is.

    The index has them and REFERENCE, which is `reference`; the manifest has them as well, since
    copying it into a registry loses the index.
    """
    return {
        TITLE: addon.name,
        "org.opencontainers.image.version": addon.version,
        "vnd.k2s.addon.name": addon.name,
        "vnd.k2s.addon.implementation": addon.implementation,
        "vnd.k2s.addon.export-name": addon.name,
    }


def reference(addon: Addon) -> str:
    """The tag under which the artifact is found in its own index."""
    return f"v{addon.version}"


def file_name(addon: Addon, k2s_version: str) -> str:
    """What K2s calls the artifact."""
    return f"K2s-{k2s_version}-addons-{addon.name}{SUFFIX}"
