# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The main job without a cluster: the chart's agent guards a node of the lab, packets tell how."""
