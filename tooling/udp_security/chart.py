# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Where the Helm chart is, in an installed package and in a checkout of the repository."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
_INSTALLED = _PACKAGE / "_addon" / "chart"
_REPOSITORY = _PACKAGE.parent.parent / "addons" / "udp-security" / "chart"


class ChartMissingError(Exception):
    """The chart is in neither place: the installation is broken."""

    def __init__(self) -> None:
        super().__init__(
            f"the chart is missing: there is no {_INSTALLED} and no {_REPOSITORY} "
            "(install the package again)"
        )


def chart_dir() -> Path:
    """The chart's folder, which holds Chart.yaml and values.yaml.

    Raises ChartMissingError.
    """
    for folder in (_INSTALLED, _REPOSITORY):
        if (folder / "Chart.yaml").is_file():
            return folder
    raise ChartMissingError
