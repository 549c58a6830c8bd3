# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The `udp-security` command."""

import codecs
import errno
import io
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from udp_security.cli.bench import bench
from udp_security.cli.demo import demo
from udp_security.cli.denials import denials
from udp_security.cli.diff import diff
from udp_security.cli.disable import disable
from udp_security.cli.enable import enable
from udp_security.cli.errors import CANNOT_RUN, INTERNAL, INTERRUPTED, UNREAD, debug_option
from udp_security.cli.explain import explain
from udp_security.cli.package import package
from udp_security.cli.render import render
from udp_security.cli.status import status
from udp_security.cli.suggest import suggest
from udp_security.cli.validate import validate

_PROGRAM = "udp-security"

# By this file's name kubectl finds what it calls `kubectl udp-security`: the dash that is part of a
# plugin's name is an underscore there.
_PLUGIN_FILE = "kubectl-udp_security"
_PLUGIN = f"kubectl {_PROGRAM}"

_COMPLETION = """\b
Shell completion (bash; zsh and fish likewise with zsh_source, fish_source):
  eval "$(_UDP_SECURITY_COMPLETE=bash_source udp-security)"

"""

_EPILOG = f"""\b
Examples:
  udp-security validate -f values.yaml
  udp-security enable -f values.yaml --mode audit
  udp-security COMMAND --help

{_COMPLETION}\b
Exit status: 0 done, 1 the values are invalid or refused, 2 wrong usage or
something that is needed is missing, 70 a fault of this program, 130 Ctrl-C,
141 nobody reads the output any more (| head).
Some commands have more: see their help."""

# What writing the output fails with where there is no room for it.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    # Imported here since it is slow and every command would pay.
    from importlib import metadata  # noqa: PLC0415

    try:
        version = metadata.version(_PROGRAM)
    except metadata.PackageNotFoundError:
        version = "(not installed as a package)"
    click.echo(f"{_PROGRAM} {version}")
    context.exit()


class _Group(click.Group):
    """Tells a pipe's end from invalid values: click and rich make both 1."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Prints the help, if it is asked for."""
        with _piped():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command."""
        with _piped():
            return super().invoke(ctx)


@contextmanager
def _piped() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise click.exceptions.Exit(UNREAD) from error
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            raise click.exceptions.Exit(UNREAD) from end
        raise


@click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
@debug_option
def cli() -> None:
    """A declarative UDP firewall for the nodes of a Kubernetes cluster.

    `enable`, `disable`, `status` and `denials` work on a running cluster, `diff`, `explain` and
    `suggest` can. All others work on the values of the udp-security Helm chart and need none.
    """


cli.add_command(demo)
cli.add_command(validate)
cli.add_command(render)
cli.add_command(explain)
cli.add_command(package)
cli.add_command(bench)
cli.add_command(enable)
cli.add_command(disable)
cli.add_command(status)
cli.add_command(denials)
cli.add_command(diff)
cli.add_command(suggest)


def _as_plugin() -> None:
    """Lets all help speak of `kubectl udp-security`, which no shell can complete by our script."""
    cli.epilog = (cli.epilog or "").replace(_COMPLETION, "")
    for command in (cli, *cli.commands.values()):
        command.epilog = re.sub(
            rf"(^  |\| ){_PROGRAM} ", rf"\1{_PLUGIN} ", command.epilog or "", flags=re.MULTILINE
        )


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Characters that the output's encoding lacks, as both JSON and people read them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    units = (text[at : at + 2].hex() for at in range(0, len(text), 2))
    return "".join(f"\\u{unit}" for unit in units), error.end


def _discard_output() -> None:
    """Python would try to write the rest when it ends, and complain."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Runs the command line; no error but one under --debug shows a traceback."""
    codecs.register_error("escaped", _escaped)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="escaped")
    plugin = Path(sys.argv[0]).stem == _PLUGIN_FILE
    if plugin:
        _as_plugin()
    try:
        # What standalone mode would do, but for Ctrl-C, which is not the 1 of invalid values.
        code = cli.main(prog_name=_PLUGIN if plugin else _PROGRAM, standalone_mode=False)
        if code == UNREAD:
            _discard_output()
        sys.exit(code)
    except click.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if "--debug" in sys.argv[1:]:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _discard_output()
            with suppress(OSError):
                click.echo(f"Error: writing fails: {error.strerror}", err=True)
            sys.exit(CANNOT_RUN)
        click.echo(
            f"Error: a fault in {_PROGRAM} itself: {type(error).__name__}: {error} "
            "(please report it with the output of the same command and --debug)",
            err=True,
        )
        sys.exit(INTERNAL)
