# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Saved denials: of `denials -o json`, or of agents. They may have been anybody's since."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Final

from udp_security.cli.errors import CannotRunError, UserError
from udp_security.policy.aggregation import merged
from udp_security.policy.denied import DeniedFlow, from_agent, from_json

STDIN: Final = "-"
_VERSION: Final = 1
_REMEDY: Final = "(write the file with 'udp-security denials -o json', or 'agent.sh denials')"


def read_denials(name: str) -> tuple[list[DeniedFlow], list[str]]:
    """The flows, and which nodes told none and why, a line each. "-" is standard input.

    A file has what `denials -o json` printed, or what `agent.sh denials` did on one node or on
    several, one behind the other. What is wrong with it ends the command, with the place in it.
    """
    shown = "<stdin>" if name == STDIN else name
    try:
        data = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
        written = datetime.now().timestamp() if name == STDIN else Path(name).stat().st_mtime
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CannotRunError(f"{shown} cannot be read: {reason} (check --denials)") from error
    flows: list[DeniedFlow] = []
    silent: list[str] = []
    agents: list[DeniedFlow] = []
    for document in _documents(data, shown):
        if not isinstance(document, dict) or document.get("schemaVersion") != _VERSION:
            raise UserError(f"{shown}: schemaVersion is not {_VERSION} {_REMEDY}")
        if "deniedFlows" in document:
            node = _printable(document.get("node") or "(a node without a name)")
            if document["deniedFlows"] is None:
                silent.append(f"{node}: its agent cannot tell flows (Windows, or backend iptables)")
                continue
            # They say how long ago a packet was denied, not when.
            time = datetime.fromtimestamp(written, timezone.utc)
            agents += _flows(
                document, "deniedFlows", shown, partial(from_agent, node=node, now=time)
            )
        else:
            flows += _flows(document, "flows", shown, from_json)
            silent += _silent(document.get("nodes"))
    return [*flows, *merged(agents, {})], silent


def _documents(data: bytes, shown: str) -> Iterator[Any]:
    """One JSON text, or several, with nothing but blanks between them."""
    decoder = json.JSONDecoder()
    try:
        text = data.decode("utf-8").strip()
        place = 0
        while place < len(text) or not text:
            document, place = decoder.raw_decode(text, place)
            yield document
            place += len(text[place:]) - len(text[place:].lstrip())
    except json.JSONDecodeError as error:
        where = f"{shown}:{error.lineno}:{error.colno}"
        raise UserError(f"{where}: not JSON: {error.msg} {_REMEDY}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{shown}: not JSON {_REMEDY}") from error


def _flows(
    document: dict[str, Any], name: str, shown: str, read: Callable[[object], DeniedFlow]
) -> Iterator[DeniedFlow]:
    items = document.get(name)
    if not isinstance(items, list):
        raise UserError(f"{shown}: {name}: not a list {_REMEDY}")
    for number, item in enumerate(items):
        try:
            yield read(item)
        except ValueError as error:
            raise UserError(f"{shown}: {name}[{number}].{error} {_REMEDY}") from error


def _silent(nodes: object) -> list[str]:
    """The nodes whose denials are not in the file, for people."""
    return [
        _printable(f"{node.get('node')}: {node['reason']}")
        for node in (nodes if isinstance(nodes, list) else ())
        if isinstance(node, dict) and node.get("reason")
    ]


def _printable(text: object) -> str:
    return "".join(filter(str.isprintable, str(text)))
