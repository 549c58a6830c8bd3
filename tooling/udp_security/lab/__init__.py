# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A cluster in network namespaces: real packets, real netfilter, nothing of the machine touched.

Start with :class:`udp_security.lab.topology.Lab`. Nothing is imported here, because
:mod:`udp_security.lab.container` starts as a fresh process for every container.
"""
