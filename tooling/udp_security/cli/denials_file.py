# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Saved denials: of `denials -o json`, or of agents. They may have been anybody's since."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from udp_security.cli.errors import CannotRunError, UserError
from udp_security.policy.aggregation import counted_once
from udp_security.policy.denied import DeniedFlow, from_agent, from_json
from udp_security.policy.fields import Fields
from udp_security.policy.model import CLUSTER_KEYS, canonical, networks

STDIN: Final = "-"
_VERSION: Final = 1
# Only lines of --follow have it.
_FOLLOWED: Final = "newPackets"
# Of the largest count, by far.
_DIGITS: Final = 100
# What JSON calls so.
_BLANKS: Final = re.compile(r"[ \t\n\r]*")
_REMEDY: Final = "(write the file with 'udp-security denials -o json', or 'agent.sh denials')"


class Silent(NamedTuple):
    """A node that told no denials, or not all, and why."""

    node: str
    reason: str

    def __str__(self) -> str:
        return f"{self.node}: {self.reason}"


@dataclass(frozen=True)
class Saved:
    """What files tell: each flow once, the silent nodes, and the cluster's own CIDRs.

    The CIDRs are by key of the values under `cluster`, None where nothing tells them.
    """

    flows: Sequence[DeniedFlow]
    silent: Sequence[Silent]
    cluster: Mapping[str, Sequence[str]] | None


def read_denials(names: Iterable[str]) -> Saved:
    """All files together; "-" is standard input.

    A file has what `denials -o json` printed, with --follow as well, or what `agent.sh denials` did
    on a node: one of them or several, one behind the other. What is wrong with it ends the command,
    with the place in it.
    """
    flows: list[DeniedFlow] = []
    silent: list[Silent] = []
    cluster: Mapping[str, Sequence[str]] | None = None
    for name in names:
        more = _read(name)
        flows += more.flows
        silent += more.silent
        cluster = more.cluster or cluster
    return Saved(counted_once(flows), list(dict.fromkeys(silent)), cluster)


def _read(name: str) -> Saved:
    """One file, with each flow as often as it is in it."""
    shown = "<stdin>" if name == STDIN else name
    try:
        data = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
        written = datetime.now().timestamp() if name == STDIN else Path(name).stat().st_mtime
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CannotRunError(f"{shown} cannot be read: {reason} (check --denials)") from error
    flows: list[DeniedFlow] = []
    silent: list[Silent] = []
    cluster: Mapping[str, Sequence[str]] | None = None
    for line, document in _documents(data, shown):
        where = f"{shown}:{line}"
        if isinstance(document, dict) and _FOLLOWED in document:
            flows.append(_flow(document, where, "", from_json))
            continue
        if not isinstance(document, dict) or document.get("schemaVersion") != _VERSION:
            raise UserError(f"{where}: schemaVersion is not {_VERSION} {_REMEDY}")
        if "deniedFlows" in document:
            node = _printable(document.get("node") or "(a node without a name)")
            if document["deniedFlows"] is None:
                reason = "its agent cannot tell flows (Windows, or backend iptables)"
                silent.append(Silent(node, reason))
                continue
            # They say how long ago a packet was denied, not when.
            time = datetime.fromtimestamp(written, timezone.utc)
            flows += _flows(
                document, "deniedFlows", where, partial(from_agent, node=node, now=time)
            )
        else:
            flows += _flows(document, "flows", where, from_json)
            silent += _silent(document.get("nodes"))
            cluster = _cluster(document.get("cluster"), where) or cluster
    return Saved(flows, silent, cluster)


def _documents(data: bytes, shown: str) -> Iterator[tuple[int, Any]]:
    """JSON texts, one at least, with blanks between them; and the line that each begins in."""
    decoder = json.JSONDecoder(parse_int=_whole)
    try:
        # What PowerShell saves may be UTF-16.
        text = data.decode(json.detect_encoding(data))
        place = _after_blanks(text, 0)
        line = 1 + text.count("\n", 0, place)
        while True:
            document, end = decoder.raw_decode(text, place)
            yield line, document
            end = _after_blanks(text, end)
            if end == len(text):
                return
            line += text.count("\n", place, end)
            place = end
    except json.JSONDecodeError as error:
        where = f"{shown}:{error.lineno}:{error.colno}"
        raise UserError(f"{where}: not JSON: {error.msg} {_REMEDY}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{shown}: not JSON {_REMEDY}") from error


def _whole(digits: str) -> int | float:
    """More digits than any count has are no number for Python; what reads the field refuses it."""
    return int(digits) if len(digits) <= _DIGITS else math.inf


def _after_blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    return found.end() if found else place


def _flows(
    document: dict[str, Any], name: str, where: str, read: Callable[[object], DeniedFlow]
) -> Iterator[DeniedFlow]:
    items = document.get(name)
    if not isinstance(items, list):
        raise UserError(f"{where}: {name}: not a list {_REMEDY}")
    for number, item in enumerate(items):
        yield _flow(item, where, f"{name}[{number}].", read)


def _flow(item: object, where: str, name: str, read: Callable[[object], DeniedFlow]) -> DeniedFlow:
    try:
        return read(item)
    except ValueError as error:
        raise UserError(f"{where}: {name}{error} {_REMEDY}") from error


def _silent(nodes: object) -> list[Silent]:
    """The nodes whose denials, or some of them, are not in the file."""
    return [
        Silent(_printable(node.get("node")), _printable(node["reason"]))
        for node in (nodes if isinstance(nodes, list) else ())
        if isinstance(node, dict) and node.get("reason")
    ]


def _cluster(given: object, shown: str) -> dict[str, list[str]] | None:
    """None: not known when they were saved, or by a version that did not tell it."""
    if given is None:
        return None
    try:
        fields = Fields(given)
        return {key: [*map(canonical, networks(fields.texts(key)))] for key in CLUSTER_KEYS}
    except ValueError as error:
        raise UserError(f"{shown}: cluster: {error} {_REMEDY}") from error


def _printable(text: object) -> str:
    return "".join(filter(str.isprintable, str(text)))
