# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Errors as users see them: one message with a remedy; the traceback only with --debug."""

import sys
import traceback
from typing import IO, Any

import click

_DEBUG = "udp_security.debug"

#: The input is invalid, or the policy or Helm refuses it.
INVALID = 1
#: Wrong usage, or something that the command needs is missing.
CANNOT_RUN = 2
#: A fault of this program (EX_SOFTWARE).
INTERNAL = 70
#: Ctrl-C (what a shell reports for a program that SIGINT ended).
INTERRUPTED = 130
#: Nobody reads the output any more (what a shell reports for a program that SIGPIPE ended).
UNREAD = 141


class UserError(click.ClickException):
    """Ends the command with a message. Raise it `from` the cause, which --debug shows."""

    exit_code = INVALID

    def __init__(self, message: str) -> None:
        super().__init__(message)
        # Asked here, since no context is left when the error is shown.
        self._debug = _debugging()

    def show(self, file: IO[Any] | None = None) -> None:
        if self._debug:
            traceback.print_exception(self, file=file or sys.stderr)
        super().show(file)


class CannotRunError(UserError):
    """Something that the command needs is missing."""

    exit_code = CANNOT_RUN


def debug_option(command: click.decorators.FC) -> click.decorators.FC:
    """Adds --debug to a command."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.find_root().meta[_DEBUG] = True

    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show tracebacks of errors.",
    )(command)


def _debugging() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().meta.get(_DEBUG))
