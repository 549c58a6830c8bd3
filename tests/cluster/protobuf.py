# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Objects that Helm's client sends as protobuf instead of JSON: Secrets, and options for DELETE.

The field numbers are those of k8s.io/api/core/v1 and k8s.io/apimachinery (generated.proto).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_STRINGS = {1: "name", 3: "namespace", 5: "uid", 6: "resourceVersion"}
_MAPS = {11: "labels", 12: "annotations"}


def decode(data: bytes) -> dict[str, Any]:
    """The object as JSON would have it. Raises ValueError for kinds that nobody sends."""
    envelope = dict(_fields(data.removeprefix(_MAGIC)))
    about = {number: value.decode() for number, value in _fields(envelope[1])}
    if about[2] == "DeleteOptions":
        options = dict(_fields(envelope[2]))
        return {"gracePeriodSeconds": options[1]} if 1 in options else {}
    if about[2] != "Secret":
        raise ValueError(f"{about[2]} as protobuf is not known here")
    secret: dict[str, Any] = {"metadata": {}, "data": {}}
    for number, value in _fields(envelope[2]):
        if number == 1:
            secret["metadata"] = _metadata(value)
        elif number == 2:
            key, content = _entry(value)
            secret["data"][key] = base64.b64encode(content).decode()
        elif number == 3:
            secret["type"] = value.decode()
    return secret


def _metadata(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, value in _fields(data):
        if number in _STRINGS and value:
            found[_STRINGS[number]] = value.decode()
        elif number in _MAPS:
            key, content = _entry(value)
            found.setdefault(_MAPS[number], {})[key] = content.decode()
    return found


def _entry(data: bytes) -> tuple[str, bytes]:
    """A map's key and value."""
    fields = dict(_fields(data))
    return fields[1].decode(), fields.get(2, b"")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """A message's fields: numbers for varints, bytes for all that has a length."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            length = varint()
            yield tag >> 3, data[position : position + length]
            position += length
        else:
            raise ValueError(f"wire type {tag & 7} is not known here")
