# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What unquoted scalars mean. The same table is held against Helm in tests/cli."""

import pytest

from udp_security.values.scalars import Scalar, resolve

TABLE: dict[str, Scalar] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "nULL": "nULL",
    "true": True,
    "TRUE": True,
    "tRUE": "tRUE",
    "yes": True,
    "on": True,
    "y": True,
    "Off": False,
    "N": False,
    "no": False,
    "0": 0,
    "514": 514,
    "-5": -5,
    "+5": 5,
    "1_000": 1000,
    "010": 8,
    "0o17": 15,
    "08": 8,
    "0x1F": 31,
    "-0x10": -16,
    "0b101": 5,
    "1.0": 1,
    "1.5": 1.5,
    "1e3": 1000,
    ".5": 0.5,
    "5.": 5,
    "+.5e1": 5,
    "18446744073709551615": 18446744073709551615,
    "5000-5100": "5000-5100",
    "12:30:45": "12:30:45",
    "1:2:3:4:5:6:7:8": "1:2:3:4:5:6:7:8",
    "fd00::7": "fd00::7",
    "::": "::",
    "10.0.0.1": "10.0.0.1",
    "10.1": 10.1,
    "2026-01-02": "2026-01-02",
    "0x": "0x",
    "-": "-",
    ".": ".",
    "1e": "1e",
    "=": "=",
    "_1": "_1",
}


@pytest.mark.parametrize(("text", "value"), TABLE.items())
def test_table(text: str, value: Scalar) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.Inf", "+.INF", ".nan", ".NaN"])
def test_numbers_that_json_does_not_know_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="finite"):
        resolve(text)
