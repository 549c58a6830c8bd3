# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Progress: on standard error, since standard output is for the result."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

# Seconds of silence.
_AFTER = 1.0
_waiting: list[threading.Timer] = []


def say(text: str) -> None:
    """A line of progress."""
    hush()
    click.echo(f"... {text}", err=True)


@contextmanager
def patience(what: str) -> Iterator[None]:
    """Says what is being done when it takes more than a second, and nothing else is said by then.

    A timer does it, so the work may compute, wait, or block.
    """
    timer = threading.Timer(_AFTER, _say, [what])
    # It keeps no program running that ends meanwhile.
    timer.daemon = True
    _waiting.append(timer)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        _waiting.remove(timer)


def hush() -> None:
    """The work can be seen from now on: nobody needs to be told of it."""
    for timer in _waiting:
        timer.cancel()


def _say(what: str) -> None:
    # Nobody may be listening.
    with suppress(OSError, ValueError):
        say(what)
