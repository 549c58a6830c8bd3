# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What K2s gets: the rendered manifests, the packaged chart, and the addon as an OCI artifact."""
