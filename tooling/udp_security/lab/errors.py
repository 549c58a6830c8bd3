# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The one exception of the lab: what failed, and what the user can do about it."""


class LabError(Exception):
    """The lab cannot do what was asked; ``remedy`` says what helps (may be empty)."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}\n{remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy
