# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The Windows side, away from Windows: a model of its firewall, and PowerShell to run the agent."""
