# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Makes the assertions of the tests' shared modules as talkative as those of the tests.

pytest rewrites only test files and conftest.py by itself. This comes before any of them is
imported.
"""

import pytest

pytest.register_assert_rewrite(
    "tests.strategies",
    "tests.lab.agents",
    "tests.lab.differential",
    "tests.lab.table",
    "tests.windows.agents",
    "tests.windows.faults",
    "tests.windows.pod",
)
