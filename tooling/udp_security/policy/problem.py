# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""One thing that is wrong with a policy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A place in the values, as keys and indices, and what is wrong there, with the remedy."""

    path: tuple[str | int, ...]
    message: str

    @property
    def place(self) -> str:
        """The path as Helm users write it: ``rules[3].from[0]``."""
        text = ""
        for step in self.path:
            text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
        return text

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"
