# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Writes the addon as the OCI artifact that `k2s addons import` takes."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from udp_security.k2s import archive, chart_archive, layers, oci
from udp_security.k2s.addon import AddonError, load

# The date of the export, which nobody reads: a true one would make each artifact another one.
_DATE = "1980-01-01T00:00:00Z"


def write(
    addon: Path, output: IO[bytes], k2s_version: str, images: Mapping[oci.Layer, Path]
) -> None:
    """Write the artifact of the addon in a folder: the same bytes for the same content.

    `images` are tars of oci-archives, one a layer. Raises AddonError, and OSError for files that
    can't be read.
    """
    about = load(addon)
    blobs: dict[str, _Blob] = {}

    def descriptor(media_type: str, content: bytes | Path, **more: Any) -> dict[str, Any]:
        blob = _Blob.of(content)
        blobs[blob.digest] = blob
        return {
            "mediaType": media_type,
            "digest": f"sha256:{blob.digest}",
            "size": blob.size,
            **more,
        }

    files: dict[oci.Layer, bytes | Path] = {
        layer: archive.tar_gz(found) for layer, found in layers.contents(addon).items()
    }
    files.update(images)
    config = {
        "name": about.name,
        "version": about.version,
        "implementation": about.implementation,
        "description": about.description,
        "k2sVersion": k2s_version,
        "exportDate": _DATE,
    }
    annotations = oci.annotations(about)
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "artifactType": oci.ARTIFACT,
        "config": descriptor(oci.CONFIG, _json(config)),
        "layers": [
            descriptor(layer.media_type, files[layer], annotations={oci.TITLE: layer.title})
            for layer in oci.LAYERS
            if layer in files
        ],
        "annotations": {**annotations, "vnd.k2s.version": k2s_version},
    }
    index = {
        "schemaVersion": 2,
        "mediaType": oci.INDEX,
        "manifests": [
            descriptor(
                oci.MANIFEST,
                _json(manifest),
                artifactType=oci.ARTIFACT,
                annotations={oci.REFERENCE: oci.reference(about), **annotations},
            )
        ],
    }
    with archive.create(output) as layout:
        for name, document in (
            (oci.LAYOUT_FILE, {"imageLayoutVersion": oci.LAYOUT_VERSION}),
            (oci.INDEX_FILE, index),
        ):
            data = _json(document)
            archive.add(layout, name, io.BytesIO(data), len(data))
        for digest, blob in sorted(blobs.items()):
            with blob.open() as content:
                archive.add(layout, oci.BLOBS + digest, content, blob.size)


def require_fresh(addon: Path) -> None:
    """Raises AddonError unless the packaged chart is the one whose sources lie beside it."""
    chart = addon / "chart"
    packaged = addon / "manifests" / "chart" / chart_archive.file_name(chart)
    if not packaged.is_file() or packaged.read_bytes() != chart_archive.build(chart):
        raise AddonError(f"{packaged} is missing or not what is in {chart} (run 'make generate')")


@dataclass(frozen=True)
class _Blob:
    """Something in the layout: bytes, or a file, which may be too big for memory."""

    content: bytes | Path
    digest: str
    size: int

    @classmethod
    def of(cls, content: bytes | Path) -> "_Blob":
        digest = hashlib.sha256()
        size = 0
        with _open(content) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
        return cls(content, digest.hexdigest(), size)

    def open(self) -> IO[bytes]:
        return _open(self.content)


def _open(content: bytes | Path) -> IO[bytes]:
    return io.BytesIO(content) if isinstance(content, bytes) else content.open("rb")


def _json(document: Any) -> bytes:
    """JSON that Windows PowerShell 5.1 reads without asking for an encoding: ASCII, no BOM."""
    return (json.dumps(document, indent=2, ensure_ascii=True) + "\n").encode("ascii")
