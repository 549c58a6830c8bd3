# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What others wrote, as it is shown to people."""

# Characters of a text.
_SHOWN = 500


def one_line(text: str) -> str:
    """The beginning of a text that others wrote, on one line and without control characters."""
    line = " ".join(text[:_SHOWN].split())
    return "".join(character if character.isprintable() else "?" for character in line)
