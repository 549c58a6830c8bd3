# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Archives whose bytes depend on nothing but the names and contents of what they hold."""

import io
import struct
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

#: 1980-01-01T00:00:00Z, the earliest time that every archive format and file system knows.
TIME = 315_532_800

_LONGEST_STORED = 0xFFFF


def tar(files: Mapping[str, bytes]) -> bytes:
    """A tar of files, {path with slashes: content}, sorted by path."""
    output = io.BytesIO()
    with create(output) as archive:
        for path, content in sorted(files.items()):
            add(archive, path, io.BytesIO(content), len(content))
    return output.getvalue()


def create(output: IO[bytes]) -> tarfile.TarFile:
    """A new tar that takes files with `add`. Paths that don't fit the old format raise ValueError
    there, since newer formats would add headers of their own.
    """
    return tarfile.open(fileobj=output, mode="w", format=tarfile.USTAR_FORMAT)


def add(archive: tarfile.TarFile, path: str, content: IO[bytes], size: int) -> None:
    """Append a file of `size` bytes that nobody owns."""
    info = tarfile.TarInfo(path)
    info.size = size
    info.mode = 0o644
    info.mtime = TIME
    archive.addfile(info, content)


def gzip(content: bytes) -> bytes:
    """A gzip file that holds the content uncompressed.

    Compressed bytes differ from one version of zlib to the next, and between it and its
    replacements; these don't. Git and registries compress what they store anyway.
    """
    # No flags, no time, no compression level, system unknown.
    parts = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    starts = range(0, len(content), _LONGEST_STORED) or [0]
    for start in starts:
        block = content[start : start + _LONGEST_STORED]
        last = start + _LONGEST_STORED >= len(content)
        parts.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    parts.append(struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))
    return b"".join(parts)


def tar_gz(files: Mapping[str, bytes]) -> bytes:
    """`tar` in `gzip`."""
    return gzip(tar(files))


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, {path in it with slashes: content}."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
