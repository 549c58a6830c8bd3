# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""udp-security: a declarative UDP firewall for the hosts of a Kubernetes cluster."""
