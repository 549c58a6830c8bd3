# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Checks a layer of images: a tar of oci-archives, which K2s imports one by one."""

import re
import tarfile
from collections.abc import Iterable
from typing import IO

from udp_security.k2s import oci
from udp_security.k2s.layout import Layout, Report, content_of, prefixed, regular_files

# With its registry: `buildah pull` and `ctr images import` take the name as it is.
_FULL_NAME = re.compile(r"[^/\s]*[.:][^/\s]*/\S+:[\w.-]+|localhost/\S+:[\w.-]+")


def check_images(layer: IO[bytes], wanted: Iterable[str], report: Report) -> None:
    """Report what is wrong with a layer, and each of the wanted references that it lacks."""
    names: set[str] = set()
    try:
        with tarfile.open(fileobj=layer, mode="r:") as archive:
            members = regular_files(archive, report)
            for path, member in members.items():
                names |= _names(content_of(archive, member), path, report)
    except tarfile.TarError as error:
        report(f"not a tar of oci-archives, or cut off: {error}")
        return
    for image in wanted:
        if image not in names:
            report(f"{image}, which the addon needs, is not in it (found: {sorted(names)})")


def _names(image: IO[bytes], path: str, report: Report) -> set[str]:
    """The full names of the images in one archive."""
    in_image = prefixed(report, path)
    try:
        with tarfile.open(fileobj=image, mode="r:") as archive:
            layout = Layout(archive, in_image)
            layout.check_version()
            layout.check_blobs()
            index = layout.json_file(oci.INDEX_FILE)
    except tarfile.TarError as error:
        in_image(f"not an oci-archive, or cut off: {error}")
        return set()
    names: set[str] = set()
    manifests = index.get("manifests") if index else None
    for manifest in manifests if isinstance(manifests, list) else []:
        annotations = manifest.get("annotations") if isinstance(manifest, dict) else None
        name = annotations.get(oci.REFERENCE) if isinstance(annotations, dict) else None
        if isinstance(name, str) and _FULL_NAME.fullmatch(name):
            names.add(name)
        else:
            in_image(f"{oci.REFERENCE} is {name!r} (must be a full name: registry/path:tag)")
    if index and not names:
        in_image("names no image")
    return names
