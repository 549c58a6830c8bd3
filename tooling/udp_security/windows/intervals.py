# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Ports and addresses as the NetSecurity cmdlets print them, read into sorted bounds.

Bounds are one flat list, ``[low, high + 1, low, high + 1, ...]``, without overlaps: a number is
inside if an odd number of them is not greater. Addresses of both families share one number line,
so that neither can ever match the other: IPv4 comes first, IPv6 behind it.
"""

from __future__ import annotations

import socket
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, ip_address

from udp_security.policy.intervals import Interval, union
from udp_security.policy.model import Address

_IPV6 = 1 << 32
_IPV6_END = _IPV6 + (1 << 128)
_SUBNETS: dict[str, Interval] = {
    "localsubnet": (0, _IPV6_END - 1),
    "localsubnet4": (0, _IPV6 - 1),
    "localsubnet6": (_IPV6, _IPV6_END - 1),
}
# What they stand for is the system's to know at run time; the model's computer has none of it.
_ADDRESS_KEYWORDS = {
    f"{word}{family}"
    for word in ("dns", "dhcp", "wins", "defaultgateway", "internet", "intranet",
                 "intranetremoteaccess", "playtodevice", "captiveportal")
    for family in ("", "4", "6")
}  # fmt: skip
_PORT_KEYWORDS = {
    "rpc", "rpcepmap", "teredo", "iphttpsin", "iphttpsout", "playtodiscovery"
}  # fmt: skip


def inside(bounds: Sequence[int], number: int) -> bool:
    """Whether one of the intervals holds the number."""
    return bisect_right(bounds, number) & 1 == 1


def port_bounds(texts: Iterable[str]) -> list[int] | None:
    """``53``, ``1-52``, ``Any`` or a keyword, which holds no port. None for every port.

    ValueError for anything else.
    """
    intervals = []
    for text in texts:
        word = text.lower()
        if word == "any":
            return None
        if word in _PORT_KEYWORDS:
            continue
        low, dash, high = text.partition("-")
        if not (low.isdecimal() and (high.isdecimal() or not dash)):
            raise ValueError(f"{text!r} is no port, range of ports or keyword for ports")
        intervals.append(_ordered(text, int(low), int(high or low)))
    return union(intervals)


def address_bounds(texts: Iterable[str], local_subnets: Sequence[str] = ()) -> list[int] | None:
    """Addresses, ranges, subnets by length or mask, keywords. None for every address.

    ``LocalSubnet`` stands for ``local_subnets``; a keyword for something else that only the system
    knows (``DNS``, ``DefaultGateway``, ...) holds no address. ValueError for anything else.
    """
    intervals = []
    for text in texts:
        word = text.lower()
        if word == "any":
            return None
        if word in _SUBNETS:
            low, high = _SUBNETS[word]
            subnets = [_interval(subnet) for subnet in local_subnets]
            intervals += [subnet for subnet in subnets if low <= subnet[0] <= high]
        elif word not in _ADDRESS_KEYWORDS:
            intervals.append(_interval(text))
    return union(intervals)


def bounds_of(texts: Iterable[str]) -> list[int]:
    """Addresses, ranges and subnets alone, no keyword. ValueError for anything else."""
    return union([_interval(text) for text in texts])


@lru_cache(maxsize=1 << 16)
def number(address: Address | str) -> int:
    """An address's place on the number line of both families."""
    parsed = ip_address(address) if isinstance(address, str) else address
    return int(parsed) if isinstance(parsed, IPv4Address) else int(parsed) + _IPV6


def _interval(text: str) -> Interval:
    low, dash, high = text.partition("-")
    if dash:
        first, last = _number(text, low), _number(text, high)
        if (first < _IPV6) != (last < _IPV6):
            raise ValueError(f"{text!r} begins in one family of addresses and ends in the other")
        return _ordered(text, first, last)
    base, slash, length = text.partition("/")
    first = _number(text, base)
    if not slash:
        return first, first
    width = 32 if first < _IPV6 else 128
    if length.isdecimal() and int(length) <= width:
        hosts = (1 << (width - int(length))) - 1
    elif width == 32 and "." in length:
        hosts = _number(text, length) ^ (_IPV6 - 1)
        if hosts & (hosts + 1):
            raise ValueError(f"{text!r} has a mask with a gap")
    else:
        raise ValueError(f"{text!r} is no subnet")
    family = _IPV6 if width == 128 else 0
    begin = ((first - family) & ~hosts) + family
    return begin, begin + hosts


def _number(text: str, address: str) -> int:
    """As ``number``, without the costs of ipaddress: a rule set has half a million addresses."""
    try:
        if ":" in address:
            return int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big") + _IPV6
        return int.from_bytes(socket.inet_pton(socket.AF_INET, address), "big")
    except OSError:
        raise ValueError(f"{text!r} is no address, range, subnet or keyword") from None


def _ordered(text: str, low: int, high: int) -> Interval:
    if low > high:
        raise ValueError(f"{text!r} ends before it begins")
    return low, high
