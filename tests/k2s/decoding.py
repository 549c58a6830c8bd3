# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The one message that a script sends to K2s's command line."""

from __future__ import annotations

import base64
import binascii
import gzip
import json
from collections.abc import Iterable
from typing import Any, Final

_MARK: Final = "#pm#"
_STATUS_KEYS: Final = {"Name", "Value", "Okay", "Message"}


class DecodingError(Exception):
    """No message, more than one, or one that can't be read."""


def decode(lines: Iterable[str], kind: str) -> Any:
    """The message of the wanted type among a script's output lines. Raises DecodingError."""
    found = [line for line in lines if line.startswith(_MARK)]
    if len(found) != 1:
        raise DecodingError(
            f"{len(found)} messages to decode" if found else "no messages to decode"
        )
    _, _, of, payload = found[0].split("#")
    if of != kind:
        raise DecodingError(f"the message is of type {of!r}, not {kind!r}")
    try:
        return json.loads(gzip.decompress(base64.b64decode(payload, validate=True)))
    except (binascii.Error, OSError, ValueError) as error:
        raise DecodingError(f"the message can't be read: {error}") from error


def status_properties(found: object) -> list[dict[str, Any]]:
    """The properties of a status, checked as K2s does. Raises DecodingError."""
    if not isinstance(found, list):
        raise DecodingError(f"the properties are no array: {found!r}")
    for element in found:
        if not isinstance(element, dict) or element.keys() != _STATUS_KEYS:
            raise DecodingError(f"no property: {element!r}")
        if element["Okay"] not in (True, False, None) or isinstance(element["Okay"], int) != (
            isinstance(element["Okay"], bool)
        ):
            raise DecodingError(f"Okay is no bool: {element!r}")
        if not isinstance(element["Message"], str | None) or not isinstance(element["Name"], str):
            raise DecodingError(f"a text is none: {element!r}")
    return found
