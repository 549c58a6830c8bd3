# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The tests' shared modules tell what was compared when one of their assertions fails."""

import importlib

import pytest

MODULES = (
    "tests.strategies",
    "tests.lab.agents",
    "tests.lab.differential",
    "tests.lab.table",
    "tests.windows.agents",
    "tests.windows.faults",
    "tests.windows.pod",
)


@pytest.mark.parametrize("name", MODULES)
def test_pytest_has_rewritten_the_assertions(name: str) -> None:
    module = importlib.import_module(name)
    assert type(module.__loader__).__name__ == "AssertionRewritingHook"
