# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The kinds of volume the agent's pod has, on disk as a kubelet keeps them."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from udp_security.lab.errors import LabError
from udp_security.lab.manifest import Manifest


class ConfigMapVolume:
    """Files behind a ``..data`` link: an update is one rename, so a reader sees all of it or
    nothing."""

    def __init__(self, directory: Path, source: Manifest, data: Mapping[str, str]) -> None:
        self.directory = directory
        self.name = str(source["name"])
        self._mode = int(source.get("defaultMode", 0o644))
        self._items = {item["key"]: item["path"] for item in source.get("items") or ()}
        self._versions = itertools.count(1)
        directory.mkdir(mode=0o755)
        self.write(data)

    def write(self, data: Mapping[str, str]) -> None:
        """Show this data from now on."""
        missing = set(self._items) - set(data)
        if missing:
            raise LabError(f"ConfigMap {self.name} has no key {', '.join(sorted(missing))}")
        paths = self._items or {key: key for key in data}
        version = f"..version-{next(self._versions)}"
        (self.directory / version).mkdir(mode=0o755)
        for key, path in paths.items():
            file = self.directory / version / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(data[key], encoding="utf-8")
            file.chmod(self._mode)
        link = self.directory / "..data"
        old = os.readlink(link) if link.is_symlink() else None
        (self.directory / "..data_tmp").symlink_to(version)
        (self.directory / "..data_tmp").rename(link)
        tops = {Path(path).parts[0] for path in paths.values()}
        for entry in self.directory.iterdir():
            if not entry.name.startswith("..") and entry.name not in tops:
                entry.unlink()
        for top in tops:
            if not (self.directory / top).is_symlink():
                (self.directory / top).symlink_to(f"..data/{top}")
        if old is not None:
            shutil.rmtree(self.directory / old)


class EmptyDirVolume:
    """A directory that lives as long as the pod."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        directory.chmod(0o777)


class HostFileVolume:
    """A file of the node, made when it is not there: pods of a node share it."""

    def __init__(self, node: Path, path: str) -> None:
        self.directory = node / path.lstrip("/")
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self.directory.touch()


Volume = ConfigMapVolume | EmptyDirVolume | HostFileVolume


def make(
    pod: Manifest, directory: Path, node: Path, config_maps: Mapping[str, Mapping[str, str]]
) -> dict[str, Volume]:
    """All volumes of a pod, below a directory, by name; files of its node are below ``node``.
    LabError for other kinds of volume."""
    volumes: dict[str, Volume] = {}
    for volume in pod.get("volumes") or ():
        name = volume["name"]
        if "emptyDir" in volume:
            volumes[name] = EmptyDirVolume(directory / name)
        elif "configMap" in volume:
            source = volume["configMap"]
            if source["name"] not in config_maps:
                raise LabError(f"the manifests have no ConfigMap {source['name']}")
            volumes[name] = ConfigMapVolume(directory / name, source, config_maps[source["name"]])
        elif volume.get("hostPath", {}).get("type") == "FileOrCreate":
            volumes[name] = HostFileVolume(node, volume["hostPath"]["path"])
        else:
            kind = next((key for key in volume if key != "name"), "nothing")
            raise LabError(f"volume {name}: the lab does not imitate {kind}")
    return volumes
