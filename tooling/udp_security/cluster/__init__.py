# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The policy in a running cluster: install it, see whether it is in force, take it away."""
