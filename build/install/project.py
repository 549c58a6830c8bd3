# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Where things are in the project, and the stamps that tell what is installed already."""

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
VENV = ROOT / ".venv"
# The administrators' folders are not on a plain user's PATH, on Debian for one.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def key_of(*parts: str | Path) -> str:
    """A digest of texts and of files' contents: whatever is installed depends on these."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


class Stamp:
    """Remembers, in `.tools/stamps/NAME`, for which key something was installed completely."""

    def __init__(self, name: str, key: str) -> None:
        self._path = TOOLS / "stamps" / name
        self._key = key

    def fresh(self, *outputs: Path) -> bool:
        """True if it was installed for the same key and all its outputs are still there."""
        try:
            same = self._path.read_text() == self._key
        except FileNotFoundError:
            return False
        return same and all(output.exists() for output in outputs)

    def clear(self) -> None:
        """Forget it, before changing what it stands for."""
        self._path.unlink(missing_ok=True)

    def set(self) -> None:
        """Remember that all of it is installed."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(self._key)
