# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Reads an OCI image layout from a tar, and says of everything wrong with it what it is."""

import hashlib
import json
import re
import tarfile
from collections.abc import Callable
from typing import IO, Any

from udp_security.k2s import oci

Report = Callable[[str], None]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Layout:
    """The files of a layout. What is wrong is told to `report`, and the answer is then None.

    Raises tarfile.TarError for what is no tar.
    """

    def __init__(self, archive: tarfile.TarFile, report: Report) -> None:
        self._archive = archive
        self._report = report
        self._members = regular_files(archive, report)

    def json_file(self, name: str) -> Any:
        """A JSON document of the layout."""
        member = self._members.get(name)
        if member is None:
            self._report(f"there is no {name}")
            return None
        return self._json(member, name)

    def check_version(self) -> None:
        """Report a missing oci-layout file or one of another version."""
        document = self.json_file(oci.LAYOUT_FILE)
        if document is not None and document != {"imageLayoutVersion": oci.LAYOUT_VERSION}:
            self._report(f"{oci.LAYOUT_FILE}: must be of imageLayoutVersion {oci.LAYOUT_VERSION!r}")

    def blob(self, descriptor: Any, where: str) -> tarfile.TarInfo | None:
        """The blob that a descriptor names, when its digest and size are right."""
        digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            self._report(f"{where}: digest is {digest!r} (must be sha256:<64 hex digits>)")
            return None
        member = self._members.get(oci.BLOBS + digest.removeprefix("sha256:"))
        if member is None:
            self._report(f"{where}: there is no blob {digest}")
            return None
        size = descriptor.get("size")
        if size != member.size:
            self._report(f"{where}: size is {size!r}, its blob has {member.size} bytes")
        if (found := self._digest(member)) != digest:
            self._report(f"{where}: the blob is damaged: {found} instead of {digest}")
            return None
        return member

    def json_blob(self, descriptor: Any, where: str) -> Any:
        """The JSON document in the blob that a descriptor names."""
        member = self.blob(descriptor, where)
        return None if member is None else self._json(member, where)

    def open(self, member: tarfile.TarInfo) -> IO[bytes]:
        """A file's content."""
        return content_of(self._archive, member)

    def check_blobs(self) -> None:
        """Report blobs whose content is not what their name says."""
        for name, member in self._members.items():
            if name.startswith(oci.BLOBS):
                expected = f"sha256:{name.removeprefix(oci.BLOBS)}"
                if (found := self._digest(member)) != expected:
                    self._report(f"{name}: damaged: {found}")

    def _digest(self, member: tarfile.TarInfo) -> str:
        digest = hashlib.sha256()
        with self.open(member) as content:
            # A tar that was cut off ends early, or raises.
            try:
                while chunk := content.read(1 << 20):
                    digest.update(chunk)
            except tarfile.ReadError:
                return "cut off"
        return f"sha256:{digest.hexdigest()}"

    def _json(self, member: tarfile.TarInfo, where: str) -> Any:
        with self.open(member) as content:
            data = content.read()
        try:
            document = json.loads(data.decode("ascii"))
        except UnicodeDecodeError:
            self._report(
                f"{where}: not ASCII, or it has a BOM (Windows PowerShell would misread it)"
            )
        except (ValueError, RecursionError) as error:
            self._report(f"{where}: no JSON: {error}")
        else:
            if isinstance(document, dict):
                return document
            self._report(f"{where}: must be a JSON object")
        return None


def prefixed(report: Report, where: str) -> Report:
    """A report of what is wrong in one place."""
    return lambda text: report(f"{where}: {text}")


def content_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    """The content of one of an archive's `regular_files`."""
    content = archive.extractfile(member)
    assert content is not None  # only other members have none
    return content


def read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The same as bytes."""
    with content_of(archive, member) as content:
        return content.read()


def regular_files(archive: tarfile.TarFile, report: Report) -> dict[str, tarfile.TarInfo]:
    """A tar's files by path, those that are safe to unpack; all else but folders is reported."""
    files: dict[str, tarfile.TarInfo] = {}
    for member in archive.getmembers():
        path = member.name.removeprefix("./")
        parts = re.split(r"[/\\]", path)
        if ".." in parts or parts[0] == "" or re.match(r"[A-Za-z]:", path):
            report(f"{member.name!r} would be unpacked elsewhere")
        elif member.isdir():
            continue
        elif not member.isfile():
            report(f"{member.name!r} is neither file nor folder")
        elif path in files:
            report(f"{member.name!r} is there twice")
        else:
            files[path] = member
    return files
