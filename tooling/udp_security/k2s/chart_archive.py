# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The chart as one file, as `helm package` would make it, but with the same bytes every time."""

from pathlib import Path

import yaml

from udp_security.k2s import archive


def file_name(chart: Path) -> str:
    """What `helm package` calls the chart of this folder: NAME-VERSION.tgz."""
    about = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
    return f"{about['name']}-{about['version']}.tgz"


def build(chart: Path) -> bytes:
    """The packaged chart."""
    name = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))["name"]
    return archive.tar_gz({f"{name}/{path}": data for path, data in archive.tree(chart).items()})
