# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The `udp-security` command."""

import re
import sys
import traceback
from pathlib import Path

import click

from udp_security.cli.bench import bench
from udp_security.cli.demo import demo
from udp_security.cli.denials import denials
from udp_security.cli.diff import diff
from udp_security.cli.disable import disable
from udp_security.cli.enable import enable
from udp_security.cli.errors import INTERNAL, INTERRUPTED, debug_option
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
something that is needed is missing, 70 a fault of this program, 130 Ctrl-C.
Some commands have more: see their help."""


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


@click.group(epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
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


def main() -> None:
    """Runs the command line; no error but one under --debug shows a traceback."""
    plugin = Path(sys.argv[0]).stem == _PLUGIN_FILE
    if plugin:
        _as_plugin()
    try:
        # What standalone mode would do, but for Ctrl-C, which is not the 1 of invalid values.
        sys.exit(cli.main(prog_name=_PLUGIN if plugin else _PROGRAM, standalone_mode=False))
    except click.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if "--debug" in sys.argv[1:]:
            traceback.print_exc()
        click.echo(
            f"Error: a fault in {_PROGRAM} itself: {type(error).__name__}: {error} "
            "(please report it with the output of the same command and --debug)",
            err=True,
        )
        sys.exit(INTERNAL)
