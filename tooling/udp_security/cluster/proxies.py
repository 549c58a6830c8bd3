# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Which proxy an API server is asked through, as kubectl decides it.

The environment's variables are read as Go does it, whose NO_PROXY knows CIDRs and ports
(https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config); aiohttp's own reading does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

from udp_security.policy.model import Address, Network

_PORTS: Final = {"http": "80", "https": "443"}
_SCHEMES: Final = ("http", "https", "socks5")


def proxy_of(server: str, own: str | None, environment: Mapping[str, str]) -> str | None:
    """The proxy's URL for the server's, None for none. Raises ValueError where it cannot be used.

    `own` is the kubeconfig's proxy-url for this server; no NO_PROXY applies to it.
    """
    if own:
        return _usable(own, "proxy-url")
    url = urlsplit(server)
    name = f"{url.scheme}_proxy".upper()
    proxy = _either(environment, name)
    if not proxy or _direct(url, _either(environment, "NO_PROXY")):
        return None
    return _usable(proxy if urlsplit(proxy).scheme in _SCHEMES else f"http://{proxy}", name)


def _usable(proxy: str, name: str) -> str:
    url = urlsplit(proxy)
    if url.scheme not in _PORTS or not url.hostname:
        raise ValueError(f"{name} names no proxy with http:// or https://, the only ones supported")
    return proxy


def _either(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name) or environment.get(name.lower()) or ""


def _direct(server: SplitResult, no_proxy: str) -> bool:
    host = _ascii(server.hostname or "")
    port = str(server.port or _PORTS.get(server.scheme, ""))
    address = _address(host)
    # Whatever NO_PROXY says.
    if host == "localhost" or (address and address.is_loopback):
        return True
    entries = (entry.strip().lower() for entry in no_proxy.split(","))
    return any(_means(entry, host, port, address) for entry in entries if entry)


def _means(entry: str, host: str, port: str, address: Address | None) -> bool:
    """Whether an entry of NO_PROXY means the host; `address` is what it is if it is no name."""
    if entry == "*":
        return True
    if network := _network(entry):
        return address is not None and address in network
    meant, colon, of = entry.rpartition(":")
    if not colon or (":" in meant and not meant.endswith("]")):
        meant, of = entry, ""
    if of not in ("", port):
        return False
    if (other := _address(meant.strip("[]"))) is not None:
        return address == other
    name = _ascii(re.sub(r"^\*?\.", "", meant))
    # With a leading dot, subdomains only.
    return bool(name) and (host.endswith(f".{name}") or host == name == _ascii(meant))


def _network(entry: str) -> Network | None:
    _, _, prefix = entry.partition("/")
    # Python would take a netmask as well.
    if prefix.isdigit():
        with suppress(ValueError):
            return ip_network(entry, strict=False)
    return None


def _address(host: str) -> Address | None:
    with suppress(ValueError):
        address = ip_address(host)
        return getattr(address, "ipv4_mapped", None) or address
    return None


def _ascii(name: str) -> str:
    try:
        return name.encode("idna").decode()
    # No name that could be one.
    except UnicodeError:
        return name
