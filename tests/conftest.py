# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What all tests have in common."""

import os

import pytest

# Helm runs thousands of times, each time for a moment: it need not tidy up its memory so often.
os.environ.setdefault("GOGC", "400")

# Makes the assertions of the tests' shared modules as talkative as those of the tests: pytest
# rewrites only test files and conftest.py by itself. This comes before any of them is imported.
pytest.register_assert_rewrite(
    "tests.strategies",
    "tests.lab.agents",
    "tests.lab.differential",
    "tests.lab.table",
    "tests.windows.agents",
    "tests.windows.faults",
    "tests.windows.pod",
)
