# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Installs what a make target needs and is not here yet: `build/python build/install TARGET`."""

import sys

try:
    import targets

    code = targets.install(sys.argv[1])
except KeyboardInterrupt:
    print(file=sys.stderr)
    code = 130  # what a shell reports for a program that SIGINT ended
sys.exit(code)
