# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Fields of JSON objects that others wrote: what comes out is what it should be, or a ValueError.

A message names the field and shows what stands there, never in raw form: it may be anything, also
what a terminal would obey.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeVar

from udp_security.policy.model import Address

_Value = TypeVar("_Value")
_Name = TypeVar("_Name", bound=str)

_SHOWN = 60
_MISSING = object()


class Fields:
    """A JSON object. Every method raises ValueError where the field is missing or wrong."""

    def __init__(self, item: object) -> None:
        if not isinstance(item, dict):
            raise ValueError(f"{_shown(item)} is not an object")
        self._item: dict[str, object] = item

    def whole(self, name: str, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        value = self._get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _wrong(name, value, f"a whole number from {low} to {high}")
        return value

    def port(self, name: str) -> int:
        """A port. 0 is one that packets can name."""
        return self.whole(name, 0, 65535)

    def one_of(self, name: str, names: Sequence[_Name]) -> _Name:
        """One of the names."""
        value = self._get(name)
        for known in names:
            if value == known:
                return known
        raise _wrong(name, value, f"one of {', '.join(names)}")

    def address(self, name: str) -> Address:
        """An IPv4 or IPv6 address, without a zone."""
        value = self._get(name)
        # A zone may hold any character.
        if isinstance(value, str) and "%" not in value:
            try:
                return _address(value)
            except ValueError:
                pass
        raise _wrong(name, value, "an IPv4 or IPv6 address")

    def text(self, name: str) -> str:
        """A text of one line, without control characters."""
        value = self._get(name)
        if not isinstance(value, str) or not value.isprintable():
            raise _wrong(name, value, "a printable text")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of such texts."""
        value = self._get(name)
        if not isinstance(value, list) or not all(
            isinstance(text, str) and text.isprintable() for text in value
        ):
            raise _wrong(name, value, "a list of printable texts")
        return tuple(value)

    def time(self, name: str) -> datetime:
        """A time as RFC 3339 writes it, in UTC then."""
        value = self._get(name)
        try:
            if not isinstance(value, str):
                raise TypeError
            # Python 3.10 does not know the Z.
            read = datetime.fromisoformat(value.replace("Z", "+00:00"))
            # Without a zone it would be taken for this machine's time.
            if read.tzinfo is None:
                raise TypeError
            return read.astimezone(timezone.utc)
        except (TypeError, ValueError, OverflowError):
            raise _wrong(name, value, "a time as in 2026-01-31T12:00:00Z") from None

    def objects(self, name: str) -> list[object]:
        """A list."""
        value = self._get(name)
        if not isinstance(value, list):
            raise _wrong(name, value, "a list")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._get(name)
        if not isinstance(value, bool):
            raise _wrong(name, value, "true or false")
        return value

    def inner(self, name: str) -> Fields:
        """An object."""
        value = self._get(name)
        if not isinstance(value, dict):
            raise _wrong(name, value, "an object")
        return Fields(value)

    def optional(self, read: Callable[[str], _Value], name: str) -> _Value | None:
        """What `read`, one of the others, makes of a field that may be null."""
        return None if self._get(name) is None else read(name)

    def has(self, name: str) -> bool:
        """Whether there is such a field."""
        return name in self._item

    def _get(self, name: str) -> object:
        value = self._item.get(name, _MISSING)
        if value is _MISSING:
            raise ValueError(f"{name}: is missing")
        return value


def _wrong(name: str, value: object, wanted: str) -> ValueError:
    return ValueError(f"{name}: {_shown(value)} is not {wanted}")


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


# Nodes name the same addresses again and again.
_address = lru_cache(maxsize=1 << 16)(ip_address)
