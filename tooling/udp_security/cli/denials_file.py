# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What `denials -o json` printed, read again. It may have been anybody's since."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from udp_security.cli.errors import CannotRunError, UserError
from udp_security.policy.denied import DeniedFlow, from_json

STDIN = "-"
_VERSION = 1


def read_denials(name: str) -> tuple[list[DeniedFlow], list[str]]:
    """The flows, and which nodes told none and why, a line each. "-" is standard input.

    What is wrong with the file ends the command, with the place in it.
    """
    shown = "<stdin>" if name == STDIN else name
    try:
        data = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CannotRunError(f"{shown} cannot be read: {reason} (check --denials)") from error
    try:
        document = json.loads(data)
    except json.JSONDecodeError as error:
        place = f"{shown}:{error.lineno}:{error.colno}"
        raise UserError(f"{place}: not JSON: {error.msg} {_REMEDY}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{shown}: not JSON {_REMEDY}") from error
    if not isinstance(document, dict) or document.get("schemaVersion") != _VERSION:
        raise UserError(f"{shown}: schemaVersion is not {_VERSION} {_REMEDY}")
    items = document.get("flows")
    if not isinstance(items, list):
        raise UserError(f"{shown}: flows: not a list {_REMEDY}")
    flows = []
    for number, item in enumerate(items):
        try:
            flows.append(from_json(item))
        except ValueError as error:
            raise UserError(f"{shown}: flows[{number}].{error} {_REMEDY}") from error
    return flows, _silent(document.get("nodes"))


_REMEDY = "(write the file with 'udp-security denials -o json')"


def _silent(nodes: object) -> list[str]:
    """The nodes whose denials are not in the file, for people."""
    return [
        "".join(filter(str.isprintable, f"{node.get('node')}: {node['reason']}"))
        for node in (nodes if isinstance(nodes, list) else ())
        if isinstance(node, dict) and node.get("reason")
    ]
