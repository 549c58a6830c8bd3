# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The chart as one file: what `helm package` would take, always the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

from udp_security.k2s import archive, chart_archive

from .artifact_places import CHART, MANIFESTS, tool

NAME = chart_archive.file_name(CHART)
PACKAGED = MANIFESTS / "chart" / NAME


def files_of(package: Path) -> dict[str, bytes]:
    with tarfile.open(package, "r:gz") as found:
        return {member.name: found.extractfile(member).read() for member in found}  # type: ignore[union-attr]


def test_it_holds_what_helm_package_takes(tmp_path: Path) -> None:
    command = [tool("helm"), "package", str(CHART), "--destination", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    theirs, ours = files_of(tmp_path / NAME), files_of(PACKAGED)
    about = "udp-security/Chart.yaml"
    # Helm writes this one anew, without comments.
    assert yaml.safe_load(theirs.pop(about)) == yaml.safe_load(ours.pop(about))
    assert ours == theirs


def test_it_is_of_the_chart_beside_it() -> None:
    assert PACKAGED.read_bytes() == chart_archive.build(CHART)


def test_helm_takes_it_for_the_same_chart() -> None:
    outputs = {
        subprocess.run(
            [tool("helm"), "template", "udp-security", chart, "--namespace", "udp-security"],
            check=True,
            capture_output=True,
            timeout=60,
        ).stdout
        for chart in (CHART, PACKAGED)
    }
    assert len(outputs) == 1


def test_neither_place_nor_time_nor_owner_matter(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(CHART, copy)
    for path in copy.rglob("*"):
        path.chmod(0o700)
        os.utime(path, (1, 1))
    assert chart_archive.build(copy) == chart_archive.build(CHART)
    with tarfile.open(PACKAGED) as found:
        members = found.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(m.mtime, m.mode, m.uid, m.gid, m.uname, m.gname, m.isreg()) for m in members} == {
        (archive.TIME, 0o644, 0, 0, "", "", True)
    }


def test_no_compressor_has_a_say() -> None:
    """The bytes as they were when this was written, by any Python and any zlib."""
    digest = hashlib.sha256(archive.tar_gz({"b/c": b"x" * 70_000, "a": b""})).hexdigest()
    assert digest == "262576bd19cd10f91b5fff63af25279841b200074917730d08d52906417a82a3"


@pytest.mark.parametrize("size", [0, 1, 0xFFFF, 0xFFFF + 1, 2 * 0xFFFF, 200_000])
def test_gzip_reads_it_back(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    packed = archive.gzip(content[:size])
    assert gzip.decompress(packed) == content[:size]
    done = subprocess.run([tool("gzip"), "-dc"], check=True, input=packed, capture_output=True)
    assert done.stdout == content[:size]


def test_a_path_that_needs_another_format_is_an_error() -> None:
    with pytest.raises(ValueError, match="too long"):
        archive.tar({"x" * 300: b""})
