# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security render`: what Helm would install, or what a node's firewall gets of it."""

import json
import re
from typing import Any

import click
import yaml

from udp_security import helm
from udp_security.cli.errors import CannotRunError, UserError, debug_option
from udp_security.cli.inputs import chart, print_notes, require_valid, values_options
from udp_security.policy import iptables
from udp_security.policy.model import SYSTEMS

_EPILOG = """\b
Examples:
  udp-security render -f values.yaml
  udp-security render -f values.yaml | kubectl diff -f -
  udp-security render -f values.yaml --ruleset linux | less
  udp-security render -f values.yaml --ruleset iptables | less
  udp-security render -f values.yaml --ruleset windows | less

\b
Exit status: 0 rendered, 1 values or chart refused, 2 wrong usage, no Helm, or
neither what --ruleset windows needs (PowerShell: pwsh) nor --ruleset iptables
(awk)."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


# Helm's own limit for a release's name.
_LONGEST = {"namespace": 63, "release_name": 53}


def _label(_: click.Context, parameter: click.Parameter, value: str) -> str:
    """An option's value as a Kubernetes name (and never as an option of Helm's)."""
    longest = _LONGEST[str(parameter.name)]
    if len(value) > longest or not _LABEL.fullmatch(value):
        raise click.BadParameter(
            f"{value!r} is not a Kubernetes name (write at most {longest} lower-case letters, "
            "digits and inner hyphens)"
        )
    return value


@click.command(epilog=_EPILOG)
@values_options
@click.option(
    "--ruleset",
    type=click.Choice((*SYSTEMS, "iptables")),
    help="Print only what this system's firewall gets: nft's ruleset, or PowerShell commands; "
    "iptables: what Linux nodes without nftables get.",
)
@click.option(
    "--namespace",
    metavar="NAME",
    callback=_label,
    default="udp-security",
    show_default=True,
    help="The namespace of the objects.",
)
@click.option(
    "--release-name",
    metavar="NAME",
    callback=_label,
    default="udp-security",
    show_default=True,
    help="The name of the Helm release.",
)
@debug_option
def render(
    files: tuple[str, ...],
    settings: tuple[str, ...],
    ruleset: str | None,
    namespace: str,
    release_name: str,
) -> None:
    """Print the Kubernetes objects that the chart makes of the values.

    The values are checked first; invalid ones give the same errors as `validate`. Then this is
    the output of `helm template`, from the Helm on PATH (3.18 or newer).
    """
    values = require_valid(files, settings)
    try:
        manifest = helm.template(chart(), values.overrides, release_name, namespace)
    except helm.HelmMissingError as error:
        raise CannotRunError(str(error)) from error
    except helm.HelmRefusedError as error:
        raise UserError(f"Helm cannot render the chart: {error}") from error
    if ruleset is None:
        click.echo(manifest, nl=False)
        print_notes(values.merged)
        return
    system = "linux" if ruleset == "iptables" else ruleset
    if not values.merged[system]["enabled"]:
        raise UserError(
            f"there is no {ruleset} ruleset: {system}.enabled is false "
            f"(add --set {system}.enabled=true)"
        )
    other = {"linux": "iptables", "iptables": "nftables"}.get(ruleset)
    if other and values.merged["linux"]["backend"] == other:
        raise UserError(
            f"there is no {ruleset} ruleset: linux.backend is {other} "
            "(add --set linux.backend=auto)"
        )
    if ruleset == "linux":
        click.echo(_file(manifest, "policy.nft"), nl=False)
    elif ruleset == "iptables":
        click.echo(_iptables_ruleset(_file(manifest, "policy.rules")), nl=False)
    else:
        click.echo(_windows_ruleset(_file(manifest, "policy.json")), nl=False)
        print_notes(values.merged)


def _iptables_ruleset(policy: str) -> str:
    try:
        return "".join(
            f"# for {tool}-restore --noflush\n{iptables.compile_policy(policy, family)}"
            for family, tool in iptables.TOOLS.items()
        )
    except iptables.AwkMissingError as error:
        raise CannotRunError(str(error)) from error
    except iptables.RefusedError as error:
        raise UserError(f"the agent would refuse this policy: {error}") from error


def _windows_ruleset(policy: str) -> str:
    # Imported here since only this option needs them.
    from udp_security.windows import pwsh  # noqa: PLC0415
    from udp_security.windows.commands import as_commands  # noqa: PLC0415
    from udp_security.windows.compiler import Compiler  # noqa: PLC0415

    try:
        with Compiler() as compile_policy:
            rules = compile_policy(json.loads(policy))
    except (pwsh.PwshMissingError, pwsh.PwshFailedError) as error:
        raise CannotRunError(str(error)) from error
    if not rules:
        click.echo("Note: a Windows node gets no rules (mode audit)", err=True)
    return as_commands(rules)


def _file(manifest: str, name: str) -> str:
    """The text of a file in one of the manifest's ConfigMaps."""
    documents: list[dict[str, Any] | None] = list(yaml.load_all(manifest, Loader=yaml.CSafeLoader))
    for document in documents:
        if document and document["kind"] == "ConfigMap" and name in document["data"]:
            return str(document["data"][name])
    raise CannotRunError(f"the chart rendered no {name} (install the package again)")
