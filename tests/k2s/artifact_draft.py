# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Writes artifacts as one likes, sound or not, with nothing of what is tested."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from .artifact_reader import Artifact

TITLES = {
    "application/vnd.k2s.addon.configfiles.v1.tar+gzip": "config.tar.gz",
    "application/vnd.k2s.addon.manifests.v1.tar+gzip": "manifests.tar.gz",
    "application/vnd.cncf.helm.chart.content.v1.tar+gzip": "charts.tar.gz",
    "application/vnd.k2s.addon.scripts.v1.tar+gzip": "scripts.tar.gz",
    "application/vnd.oci.image.layer.v1.tar": "images-linux.tar",
    "application/vnd.k2s.addon.images-windows.v1.tar": "images-windows.tar",
}


class Draft:
    """An artifact that can be changed in any part and is then written with matching digests.

    `last` is a place for changes that would be undone by that: the layout's files by path.
    """

    def __init__(self, artifact: Artifact) -> None:
        self.index = json.loads(json.dumps(artifact.index))
        self.manifest = json.loads(json.dumps(artifact.manifest))
        self.config = json.loads(json.dumps(artifact.config))
        self.layers = dict(artifact.layers)
        self.last: dict[str, bytes | None] = {}

    @property
    def reference(self) -> Any:
        """The index's descriptor of the manifest."""
        return self.index["manifests"][0]

    def repack(self, media_type: str, changes: Mapping[str, bytes | None]) -> None:
        """Change files of a tar.gz layer; None removes one."""
        with tarfile.open(fileobj=BytesIO(self.layers[media_type])) as archive:
            files = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
        self.layers[media_type] = gzip.compress(tar(_changed(files, changes)))

    def write(self, path: Path) -> Path:
        """Write it; descriptors get the digests and sizes of what they describe."""
        files: dict[str, bytes] = {}

        def describe(descriptor: dict[str, Any], content: bytes) -> dict[str, Any]:
            digest = hashlib.sha256(content).hexdigest()
            files[f"blobs/sha256/{digest}"] = content
            return {**descriptor, "digest": f"sha256:{digest}", "size": len(content)}

        old = {layer["mediaType"]: layer for layer in self.manifest["layers"]}
        self.manifest["layers"] = [
            describe(old.get(name) or _descriptor(name), data) for name, data in self.layers.items()
        ]
        self.manifest["config"] = describe(self.manifest["config"], as_json(self.config))
        self.index["manifests"][0] = describe(self.reference, as_json(self.manifest))
        files["index.json"] = as_json(self.index)
        files["oci-layout"] = as_json({"imageLayoutVersion": "1.0.0"})
        path.write_bytes(tar(_changed(files, self.last)))
        return path


def oci_archive(name: str | None, blobs: Mapping[str, bytes] | None = None) -> bytes:
    """An image as an oci-archive; its only blob is what the index names."""
    content = b"{}"
    digest = hashlib.sha256(content).hexdigest()
    manifest = {"digest": f"sha256:{digest}", "size": len(content)}
    annotations = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
    index = {"schemaVersion": 2, "manifests": [{**manifest, **annotations}]}
    return tar(
        {
            "oci-layout": as_json({"imageLayoutVersion": "1.0.0"}),
            "index.json": as_json(index),
            f"blobs/sha256/{digest}": content,
            **(blobs or {}),
        }
    )


def tar(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    """A tar of files, of folders (their paths end in a slash) and of symbolic links."""
    output = BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(content)
            archive.addfile(info, BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.SYMTYPE
            info.linkname = target
            archive.addfile(info)
    return output.getvalue()


def _descriptor(media_type: str) -> dict[str, Any]:
    annotations = {"org.opencontainers.image.title": TITLES.get(media_type, "x")}
    return {"mediaType": media_type, "annotations": annotations}


def _changed(files: Mapping[str, bytes], changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    return {name: data for name, data in {**files, **changes}.items() if data is not None}


def as_json(document: Any) -> bytes:
    """JSON in ASCII."""
    return json.dumps(document).encode()
