# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Reads an artifact as `k2s addons import` does, with nothing of what wrote it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

CONFIG_FILES = "application/vnd.k2s.addon.configfiles.v1.tar+gzip"
MANIFESTS = "application/vnd.k2s.addon.manifests.v1.tar+gzip"
CHARTS = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
SCRIPTS = "application/vnd.k2s.addon.scripts.v1.tar+gzip"
IMAGES_LINUX = "application/vnd.oci.image.layer.v1.tar"
IMAGES_WINDOWS = "application/vnd.k2s.addon.images-windows.v1.tar"
# Where an import unpacks a layer, from the addon's folder.
_TARGETS = {CONFIG_FILES: ".", MANIFESTS: "manifests", CHARTS: "manifests/chart", SCRIPTS: "."}


@dataclass
class Artifact:
    """The documents of an artifact and the files of its layers, by media type."""

    files: dict[str, bytes]
    index: dict[str, Any]
    manifest: dict[str, Any]
    config: dict[str, Any]
    layers: dict[str, bytes]

    @property
    def reference(self) -> dict[str, Any]:
        """The index's descriptor of the manifest."""
        (found,) = self.index["manifests"]
        assert isinstance(found, dict)
        return found

    def unpacked(self, media_type: str) -> dict[str, bytes]:
        """The files of a tar.gz layer."""
        return _untar(self.layers[media_type], "r:gz")

    def import_into(self, addons: Path) -> Path:
        """Unpack the layers below a folder of addons, as an import does; the addon's folder."""
        folder = addons / str(self.reference["annotations"]["vnd.k2s.addon.name"])
        for media_type, target in _TARGETS.items():
            for path, content in self.unpacked(media_type).items():
                file = folder / target / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        return folder


def read(path: Path) -> Artifact:
    """Read an artifact. What an import would refuse is an AssertionError."""
    assert path.name.endswith(".oci.tar")
    files = _untar(path.read_bytes(), "r:")
    assert _document(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index = _document(files["index.json"])
    assert index["schemaVersion"] == 2
    (reference,) = index["manifests"]
    manifest = _document(_blob(files, reference))
    return Artifact(
        files=files,
        index=index,
        manifest=manifest,
        config=_document(_blob(files, manifest["config"])),
        layers={layer["mediaType"]: _blob(files, layer) for layer in manifest["layers"]},
    )


def _blob(files: Mapping[str, bytes], descriptor: Mapping[str, Any]) -> bytes:
    algorithm, digest = descriptor["digest"].split(":")
    content = files[f"blobs/{algorithm}/{digest}"]
    assert algorithm == "sha256"
    assert hashlib.sha256(content).hexdigest() == digest
    assert len(content) == descriptor["size"]
    return content


def _document(data: bytes) -> dict[str, Any]:
    document = json.loads(data.decode("ascii"))
    assert isinstance(document, dict)
    return document


def _untar(data: bytes, mode: Any) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=BytesIO(data), mode=mode) as archive:
        for member in archive:
            assert member.isreg(), member.name
            assert not member.name.startswith("/") and ".." not in member.name
            assert member.name not in files
            content = archive.extractfile(member)
            assert content is not None
            files[member.name] = content.read()
    return files
