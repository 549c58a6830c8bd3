# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the firewall costs, measured against the same node without it (`udp-security bench`)."""
