# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The `udp-security` command, also as `python -m udp_security`. Small, so that Ctrl-C while all
else is imported ends it as quietly as later."""

import os
import sys

# The exit code is cli.errors.INTERRUPTED, which is not imported yet.
_INTERRUPTED = 130


def main() -> None:
    """Runs the command line."""
    try:
        # Inside, since importing takes a while.
        import signal  # noqa: PLC0415

        # Python's own way, an exception, comes as a traceback out of some callbacks of the import
        # system, and out of what Python does at its end.
        interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if interruptible:
            signal.signal(signal.SIGINT, _end)
        from udp_security.cli.main import main as run  # noqa: PLC0415

        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            run()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(_INTERRUPTED)


def _end(*_: object) -> None:
    os.write(sys.stderr.fileno(), b"\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
