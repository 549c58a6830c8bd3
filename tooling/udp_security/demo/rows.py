# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the demo's tables show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One probe: what the policy means for it, why, and what happened under either rule set."""

    title: str
    allowed: bool
    why: str
    reference: bool
    ours: bool
