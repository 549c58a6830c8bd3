# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""One line to the user for each thing that is installed, and the error for what is missing."""


class Missing(Exception):
    """Something is neither here nor could it be installed; the text says what to do about it."""


def say(text: str) -> None:
    """Print one line to the user at once, also into a pipe."""
    print(f"udp-security: {text}", flush=True)
