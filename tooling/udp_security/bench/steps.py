# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Progress of what takes longer than a second."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Steps:
    """A bar for each step on a terminal, a line behind it elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def step(self, title: str, total: int = 1) -> Iterator[Callable[[], None]]:
        """A step of ``total`` parts; the block calls what it gets after each."""
        if not self._console.is_terminal:
            began = time.monotonic()
            yield lambda: None
            self._console.print(f"... {title} ({time.monotonic() - began:.1f} s)", style="dim")
            return
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        ) as progress:
            task = progress.add_task(title, total=total)
            yield lambda: progress.advance(task)
