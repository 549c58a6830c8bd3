# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Fixtures of the tests that send packets. The process is isolated before the first of them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.lab.agents import Node

from udp_security.lab import sandbox
from udp_security.lab.errors import LabError
from udp_security.lab.topology import Lab
from udp_security.lab.wire import Wire


@pytest.fixture(scope="session", autouse=True)
def sandboxed() -> None:
    """Namespaces of this process's own. Skips where the kernel forbids them, but not on CI."""
    try:
        sandbox.enter()
    except LabError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no lab here: {error}")


@pytest.fixture(scope="module")
def lab(sandboxed: None) -> Iterator[Lab]:
    """A lab for the tests of one file; what a test loads into it, it removes."""
    with Lab() as built:
        yield built


@pytest.fixture(scope="module")
def wire(sandboxed: None) -> Iterator[Wire]:
    """A wire for the tests of one file."""
    with Wire() as built:
        yield built


@pytest.fixture
def node(lab: Lab) -> Iterator[Node]:
    """The lab's first node, for agents; they are gone at the test's end."""
    with Node(lab) as governed:
        yield governed
