# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The chart's values as a user writes them: files and --set, merged as Helm does, and checked."""
