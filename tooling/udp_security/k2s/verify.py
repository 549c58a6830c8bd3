# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Checks an artifact of the addon: one of `udp-security package` or of `k2s addons export`."""

import gzip
import io
import re
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any

import yaml

from udp_security.k2s import oci
from udp_security.k2s.addon import MANIFEST, NAME, Addon, parse
from udp_security.k2s.images import check_images
from udp_security.k2s.layout import Layout, Report, prefixed, read, regular_files

_K2S_VERSION = re.compile(r"v?\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?")
_SYNC_FILES = ("gitops-sync/kustomization.yaml", "gitops-sync/sync-job.yaml")

Files = dict[str, bytes]


def violations(artifact: Path) -> list[str]:
    """What `k2s addons import`, GitOps or the addon itself would stumble over, one line each.

    Raises OSError when the file can't be read.
    """
    found: list[str] = []

    def report(text: str) -> None:
        # YAML's errors have several lines.
        found.append(" ".join(text.split()))

    if not artifact.name.endswith(oci.SUFFIX):
        report(f"the file's name must end in {oci.SUFFIX}")
    try:
        with tarfile.open(artifact, "r:") as archive:
            _Artifact(archive, report).check()
    except tarfile.TarError as error:
        report(f"not a tar, or cut off: {error}")
    return found


class _Artifact:
    def __init__(self, archive: tarfile.TarFile, report: Report) -> None:
        self._report = report
        self._layout = Layout(archive, report)

    def check(self) -> None:
        self._layout.check_version()
        index = self._layout.json_file(oci.INDEX_FILE)
        if index is None:
            return
        self._expect(index, "schemaVersion", 2, oci.INDEX_FILE)
        self._expect(index, "mediaType", oci.INDEX, oci.INDEX_FILE)
        manifests = index.get("manifests")
        if not isinstance(manifests, list) or len(manifests) != 1:
            self._report(f"{oci.INDEX_FILE}: manifests must be a list of one, the addon's")
            return
        self._check_manifest(manifests[0])

    def _check_manifest(self, descriptor: Any) -> None:
        manifest = self._layout.json_blob(descriptor, "manifest")
        if manifest is None:
            return
        for document, where in (
            (descriptor, f"{oci.INDEX_FILE}: manifest"),
            (manifest, "manifest"),
        ):
            self._expect(document, "mediaType", oci.MANIFEST, where)
            self._expect(document, "artifactType", oci.ARTIFACT, where)
        self._expect(manifest, "schemaVersion", 2, "manifest")
        layers = self._layers(manifest.get("layers"))
        addon = self._addon(layers.get(oci.CONFIG_FILES))
        self._check_config(manifest.get("config"), addon)
        if addon is not None:
            expected = oci.annotations(addon)
            self._check_annotations(manifest, expected, "manifest")
            expected[oci.REFERENCE] = oci.reference(addon)
            self._check_annotations(descriptor, expected, f"{oci.INDEX_FILE}: manifest")
        self._check_contents(layers, addon)

    def _check_annotations(self, document: Any, expected: dict[str, str], where: str) -> None:
        annotations = document.get("annotations")
        if not isinstance(annotations, dict):
            self._report(f"{where}: there are no annotations")
            return
        for key, value in expected.items():
            self._expect(annotations, key, value, f"{where}: annotations")

    def _check_config(self, descriptor: Any, addon: Addon | None) -> None:
        config = self._layout.json_blob(descriptor, "config")
        if config is None:
            return
        self._expect(descriptor, "mediaType", oci.CONFIG, "config")
        for key in ("name", "version", "implementation", "description") if addon else ():
            self._expect(config, key, getattr(addon, key), "config")
        for key, pattern in (
            ("k2sVersion", _K2S_VERSION),
            ("exportDate", re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")),
        ):
            if not isinstance(config.get(key), str) or not pattern.fullmatch(config[key]):
                self._report(f"config: {key} is {config.get(key)!r}")

    def _layers(self, descriptors: Any) -> dict[oci.Layer, tarfile.TarInfo]:
        """The layers whose blobs are there and undamaged."""
        found: dict[oci.Layer, tarfile.TarInfo] = {}
        named: list[oci.Layer] = []
        for number, descriptor in enumerate(descriptors if isinstance(descriptors, list) else []):
            where = f"layer {number}"
            member = self._layout.blob(descriptor, where)
            media_type = descriptor.get("mediaType") if isinstance(descriptor, dict) else None
            layer = next((known for known in oci.LAYERS if known.media_type == media_type), None)
            if layer is None:
                self._report(f"{where}: K2s knows no layers of mediaType {media_type!r}")
                continue
            self._check_annotations(descriptor, {oci.TITLE: layer.title}, where)
            named.append(layer)
            if member is not None:
                found[layer] = member
        if named != [layer for layer in oci.LAYERS if layer in named]:
            self._report("layers: not each once, or not in K2s's order")
        for layer in oci.REQUIRED:
            if layer not in named:
                self._report(f"layers: there is no {layer.title} ({layer.media_type})")
        return found

    def _addon(self, config_files: tarfile.TarInfo | None) -> Addon | None:
        files = self._unpacked(config_files, oci.CONFIG_FILES)
        if files is None:
            return None
        where = f"{oci.CONFIG_FILES.title}: {MANIFEST}"
        if MANIFEST not in files:
            self._report(f"{where} is missing")
            return None
        try:
            addon = parse(files[MANIFEST].decode("utf-8-sig"))
        except ValueError as error:
            self._report(f"{where}: {error}")
            return None
        for key in ("name", "implementation"):
            if getattr(addon, key) != NAME:
                self._report(f"{where}: {key} is {getattr(addon, key)!r} (must be {NAME!r})")
        return addon

    def _check_contents(
        self, layers: dict[oci.Layer, tarfile.TarInfo], addon: Addon | None
    ) -> None:
        manifests = self._unpacked(layers.get(oci.MANIFESTS), oci.MANIFESTS)
        charts = self._unpacked(layers.get(oci.CHARTS), oci.CHARTS)
        scripts = self._unpacked(layers.get(oci.SCRIPTS), oci.SCRIPTS)
        self._unpacked(layers.get(oci.PACKAGES), oci.PACKAGES)
        if manifests is not None:
            self._check_manifests(manifests)
        if charts is not None and addon is not None:
            self._check_chart(charts, addon)
        if charts is not None and manifests is not None:
            again = {p[len("chart/") :]: d for p, d in manifests.items() if p.startswith("chart/")}
            if again != charts:
                self._report(f"{oci.CHARTS.title} and chart/ of {oci.MANIFESTS.title} differ")
        for script in addon.scripts if addon else ():
            if scripts is not None and script not in scripts:
                self._report(f"{oci.SCRIPTS.title}: {script}, which {MANIFEST} names, is missing")
        for system, layer in oci.IMAGES.items():
            if layer in layers:
                wanted = addon.images[system] if addon else ()
                with self._layout.open(layers[layer]) as content:
                    check_images(content, wanted, prefixed(self._report, layer.title))

    def _check_manifests(self, files: Files) -> None:
        for name in _SYNC_FILES:
            if name not in files:
                self._report(f"{oci.MANIFESTS.title}: {name} is missing (Flux applies it)")
        for name, data in files.items():
            if name.endswith((".yaml", ".yml")):
                try:
                    list(yaml.safe_load_all(data))
                except (yaml.YAMLError, UnicodeDecodeError) as error:
                    self._report(f"{oci.MANIFESTS.title}: {name} is no YAML: {error}")

    def _check_chart(self, files: Files, addon: Addon) -> None:
        name = f"{addon.name}-{addon.version}.tgz"
        if name not in files:
            self._report(f"{oci.CHARTS.title}: {name} is missing (Enable.ps1 installs it)")
            return
        where = f"{oci.CHARTS.title}: {name}"
        chart = self._unpack(io.BytesIO(files[name]), where)
        if chart is None:
            return
        try:
            about = yaml.safe_load(chart[f"{addon.name}/Chart.yaml"])
            is_ours = (about["name"], about["version"]) == (addon.name, addon.version)
        except (KeyError, TypeError, yaml.YAMLError):
            is_ours = False
        if not is_ours:
            self._report(f"{where} is not the chart {addon.name} of version {addon.version}")

    def _unpacked(self, member: tarfile.TarInfo | None, layer: oci.Layer) -> Files | None:
        if member is None:
            return None
        with self._layout.open(member) as content:
            return self._unpack(content, layer.title)

    def _unpack(self, content: IO[bytes], where: str) -> Files | None:
        """The files of a tar.gz."""
        try:
            data = gzip.decompress(content.read())
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                members = regular_files(archive, prefixed(self._report, where))
                return {path: read(archive, member) for path, member in members.items()}
        except (tarfile.TarError, zlib.error, OSError, EOFError) as error:
            self._report(f"{where}: no tar.gz, or cut off: {error}")
            return None

    def _expect(self, document: Any, key: str, expected: object, where: str) -> None:
        found = document.get(key)
        if found != expected:
            self._report(f"{where}: {key} is {found!r} (must be {expected!r})")
