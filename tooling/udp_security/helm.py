# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The Helm that is on PATH, through pyhelm3."""

import asyncio
import functools
import json
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MINIMUM = (3, 18)
_INSTALL = f"install Helm {MINIMUM[0]}.{MINIMUM[1]} or newer, or Helm 4, and put it on PATH"


class HelmMissingError(Exception):
    """There is no Helm that can be used; the message says what to do."""


class HelmRefusedError(Exception):
    """Helm ran and failed; the message is Helm's own."""


def template(chart: Path, values: Mapping[str, Any], release: str, namespace: str) -> str:
    """What `helm template` prints for `values` (the user's alone: Helm adds the chart's defaults).

    Raises HelmMissingError and HelmRefusedError.
    """
    helm = find()
    return _run(
        helm,
        ["template", release, str(chart), "--namespace", namespace, "--values", "-"],
        as_input(values).encode(),
    )


def as_input(values: Mapping[str, Any]) -> str:
    """Values as JSON that Helm can read from a file or standard input.

    Helm reads it as YAML, which knows no surrogate pairs, so characters beyond U+FFFF stand for
    themselves; the rest is escaped, as YAML would take some of it for line breaks.
    """
    text = json.dumps(values, ensure_ascii=False)
    return re.sub(r"[\x7f-\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def find() -> str:
    """The path of a Helm that is new enough. Raises HelmMissingError."""
    helm = shutil.which("helm")
    if helm is None:
        raise HelmMissingError(f"Helm is not on PATH ({_INSTALL})")
    if (found := version(helm)) < MINIMUM:
        shown = ".".join(map(str, found))
        raise HelmMissingError(f"{helm} is v{shown}, too old for the chart ({_INSTALL})")
    return helm


@functools.cache
def version(helm: str) -> tuple[int, ...]:
    """The three numbers of the version of the Helm at that path. Raises HelmMissingError."""
    try:
        answer = _run(helm, ["version", "--template", "{{.Version}}"])
    except HelmRefusedError as error:
        raise HelmMissingError(f"{helm} does not run: {error} ({_INSTALL})") from error
    numbers = re.match(r"v?(\d+)\.(\d+)\.(\d+)", answer)
    if numbers is None:
        raise HelmMissingError(f"{helm} does not tell its version, it says: {answer} ({_INSTALL})")
    return tuple(map(int, numbers.groups()))


def _run(helm: str, arguments: list[str], stdin: bytes | None = None) -> str:
    return asyncio.run(run(helm, arguments, stdin))


async def run(
    helm: str,
    arguments: Sequence[str],
    stdin: bytes | None = None,
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
) -> str:
    """What Helm prints. When the task is cancelled, Helm is told to end, and waited for.

    Raises HelmRefusedError.
    """
    # Imported here since it takes half a second and not every command needs it.
    from pyhelm3 import Command, Error  # noqa: PLC0415

    # Its warnings repeat the error that is raised.
    logging.getLogger("pyhelm3").addHandler(logging.NullHandler())
    # It runs a shell, which Helm has to replace: what ends the shell would not end Helm.
    command = Command(executable="exec", kubeconfig=kubeconfig, kubecontext=context)
    try:
        output: bytes = await command.run([helm, *arguments], stdin)
    except Error as error:
        text = error.stderr.decode(errors="replace").replace(
            "\n\nUse --debug flag", "\nUse --debug"
        )
        lines = [line for line in text.splitlines() if not line.startswith("Use --debug")]
        raise HelmRefusedError("\n".join(lines).removeprefix("Error: ").strip()) from error
    return output.decode()
