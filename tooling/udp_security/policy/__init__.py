# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What a policy is and means: model, presets, checks, and the oracle that emitters are held to."""

from udp_security.policy.checks import check
from udp_security.policy.model import (
    Cluster,
    Flow,
    Network,
    Policy,
    PortRange,
    Rule,
)
from udp_security.policy.oracle import Decision, decide
from udp_security.policy.problem import Problem

__all__ = [
    "Cluster",
    "Decision",
    "Flow",
    "Network",
    "Policy",
    "PortRange",
    "Problem",
    "Rule",
    "check",
    "decide",
]
