# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A values file's text, and how it is replaced: wholly or not at all."""

from __future__ import annotations

import codecs
import os
import stat
import tempfile
from pathlib import Path

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


class RewriteError(Exception):
    """The file cannot be replaced, and was not; the message says why."""


class Original:
    """A file as it was read. `text` is without a byte order mark, with the newlines that it has."""

    def __init__(self, name: str) -> None:
        """Raises RewriteError where it cannot be read, or nobody shall write to it."""
        self._name = name
        # What a link leads to is replaced, not the link.
        self._path = Path(os.path.realpath(name))
        try:
            self._data = self._path.read_bytes()
            self._status = self._path.stat()
            self.text = self._data.removeprefix(codecs.BOM_UTF8).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise RewriteError(f"{name} cannot be read: {_words(error)}") from error
        if not (self._status.st_mode & _WRITABLE and os.access(self._path, os.W_OK)):
            raise RewriteError(f"{name} is read-only (make it writable, or copy it)")

    def replace(self, text: str) -> None:
        """Replaces the file at once; it keeps its mode, its owner and a byte order mark.

        Raises RewriteError, also where somebody changed it since it was read.
        """
        mark = codecs.BOM_UTF8 if self._data.startswith(codecs.BOM_UTF8) else b""
        folder = self._path.parent
        try:
            with tempfile.NamedTemporaryFile(
                dir=folder, prefix=f".{self._path.name}.", delete=False
            ) as new:
                try:
                    new.write(mark + text.encode())
                    new.flush()
                    os.fsync(new.fileno())
                    self._keep_mode(new.name)
                    if self._path.read_bytes() != self._data:
                        raise RewriteError(
                            f"{self._name} was changed by somebody else meanwhile (run it again)"
                        )
                    Path(new.name).replace(self._path)
                except BaseException:
                    Path(new.name).unlink()
                    raise
        except OSError as error:
            raise RewriteError(f"{self._name} cannot be written: {_words(error)}") from error

    def _keep_mode(self, name: str) -> None:
        if hasattr(os, "chown"):
            new = Path(name).stat()
            if (new.st_uid, new.st_gid) != (self._status.st_uid, self._status.st_gid):
                os.chown(name, self._status.st_uid, self._status.st_gid)
        Path(name).chmod(stat.S_IMODE(self._status.st_mode))


def _words(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else "not UTF-8"
