# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`python -m udp_security`: the same as the `udp-security` command."""

from udp_security.cli.main import main

if __name__ == "__main__":
    main()
