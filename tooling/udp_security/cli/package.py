# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security package`: the addon as a file for `k2s addons import`."""

import os
import re
import tempfile
from pathlib import Path

import click

from udp_security.chart import ChartMissingError
from udp_security.cli.errors import CannotRunError, UserError, debug_option
from udp_security.cli.inputs import console

_EPILOG = """\b
Examples:
  udp-security package
  udp-security package --output dist --images-linux images-linux.tar
  udp-security package --verify K2s-2.0.0-addons-udp-security.oci.tar

\b
An images tar holds one oci-archive for each image, under its full name:
  image=docker.io/flannel/flannel:0.28.9
  skopeo copy docker://$image oci-archive:flannel.tar:$image
  tar -cf images-linux.tar flannel.tar

\b
Exit status: 0 done, 1 the artifact is not what K2s imports, 2 wrong usage or
something that is needed is missing."""

# The release that the addon was made for.
_K2S_VERSION = "2.0.0"


def _version(_: click.Context, __: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?", value):
        raise click.BadParameter(f"{value!r} is no version of K2s (write it as in {_K2S_VERSION})")
    return value


_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)


@click.command(epilog=_EPILOG)
@click.option(
    "--output",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    default=".",
    show_default=True,
    help="The folder for the file.",
)
@click.option(
    "--k2s-version",
    metavar="VERSION",
    callback=_version,
    default=_K2S_VERSION,
    show_default=True,
    help="The K2s that the file's name and content tell.",
)
@click.option(
    "--images-linux",
    metavar="TAR",
    type=_FILE,
    help="Images for Linux nodes that have no registry; none by default.",
)
@click.option("--images-windows", metavar="TAR", type=_FILE, help="The same for Windows nodes.")
@click.option(
    "--verify",
    metavar="FILE",
    type=_FILE,
    help="Write nothing, but check an artifact of this addon, from here or exported by K2s.",
)
@debug_option
@click.pass_context
def package(
    context: click.Context,
    output: Path,
    k2s_version: str,
    images_linux: Path | None,
    images_windows: Path | None,
    verify: Path | None,
) -> None:
    """Write the addon as an OCI artifact for K2s.

    `k2s addons import -f FILE` on a Windows host takes it, without network. The same addon gives
    the same bytes. No images are in it unless they are given: every node of K2s has those that
    the addon uses.
    """
    if verify is None:
        images = {"linux": images_linux, "windows": images_windows}
        _write(output, k2s_version, {system: path for system, path in images.items() if path})
        return
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in ("output", "k2s_version", "images_linux", "images_windows")
        and context.get_parameter_source(parameter.name) != click.core.ParameterSource.DEFAULT
    ]
    if given:
        raise click.UsageError(f"--verify writes nothing (leave out {', '.join(given)})")
    _verify(verify)


def _verify(file: Path) -> None:
    # Imported here since only this needs it.
    from udp_security.k2s.verify import violations  # noqa: PLC0415

    try:
        found = violations(file)
    except OSError as error:
        raise CannotRunError(f"cannot read {file}: {error.strerror}") from error
    for violation in found:
        click.echo(f"{file}: {violation}")
    if found:
        raise click.exceptions.Exit(UserError.exit_code)
    console().print(f"{file}: valid")


def _write(output: Path, k2s_version: str, images: dict[str, Path]) -> None:
    # Imported here since only this needs them.
    from udp_security.k2s import artifact, oci  # noqa: PLC0415
    from udp_security.k2s.addon import AddonError, addon_dir, load  # noqa: PLC0415
    from udp_security.k2s.verify import violations  # noqa: PLC0415

    try:
        addon = addon_dir()
        artifact.require_fresh(addon)
        about = load(addon)
        target = output / oci.file_name(about, k2s_version)
        # What is there stays there until its successor is whole and good.
        with tempfile.TemporaryDirectory(prefix=".package-", dir=output) as folder:
            unfinished = Path(folder, target.name)
            with unfinished.open("wb") as file:
                artifact.write(
                    addon,
                    file,
                    k2s_version,
                    {oci.IMAGES[system]: path for system, path in images.items()},
                )
            if found := violations(unfinished):
                raise UserError("\n  ".join(["K2s could not import the result:", *found]))
            os.replace(unfinished, target)
    except (ChartMissingError, AddonError) as error:
        raise CannotRunError(str(error)) from error
    except OSError as error:
        raise CannotRunError(f"cannot write the artifact: {error}") from error
    size = target.stat().st_size
    console().print(f"{target}: {size:,} bytes, addon {about.version} for K2s {k2s_version}")
    for system in oci.IMAGES:
        if system not in images:
            needed = ", ".join(about.images[system])
            console().print(
                f"Without images for {system.capitalize()} nodes (--images-{system}): {needed}"
            )
