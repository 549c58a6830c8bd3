# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The proxy is the one that kubectl would take."""

from __future__ import annotations

import pytest

from udp_security.cluster.proxies import proxy_of

PROXY = "http://proxy:3128"
NAME, FOUR, SIX = "https://api.ward.test:6443", "https://10.1.2.3:6443", "https://[fd00:1::5]"


@pytest.mark.parametrize(
    ("no_proxy", "server", "direct"),
    [
        ("", NAME, False),
        ("*", NAME, True),
        (" , api.ward.test ,", NAME, True),
        ("API.Ward.Test", NAME, True),
        ("ward.test", NAME, True),
        (".ward.test", NAME, True),
        ("*.ward.test", NAME, True),
        (".api.ward.test", NAME, False),
        ("rd.test", NAME, False),
        ("*rd.test", NAME, False),
        ("ward.test:6443", NAME, True),
        ("ward.test:443", NAME, False),
        ("ward.test:443", "https://ward.test", True),
        (":6443", NAME, False),
        (".", NAME, False),
        ("bücher.test", "https://api.bücher.test", True),
        (".bücher.test", "https://api.bücher.test", True),
        (".bücher.test", "https://bücher.test", False),
        ("xn--bcher-kva.test", "https://api.bücher.test", True),
        ("10.0.0.0/8", FOUR, True),
        ("10.9.9.9/8", FOUR, True),
        ("10.0.0.0/16", FOUR, False),
        ("10.0.0.0/255.0.0.0", FOUR, False),
        ("10.0.0.0/8:6443", FOUR, False),
        ("10.0.0.0/8", NAME, False),
        ("10.1.2.3", FOUR, True),
        ("10.1.2.3:6443", FOUR, True),
        ("10.1.2.3:443", FOUR, False),
        ("::ffff:10.1.2.3", FOUR, True),
        ("fd00:1::/32", SIX, True),
        ("fd00:1::/32", FOUR, False),
        ("fd00:1:0::5", SIX, True),
        ("[fd00:1::5]:443", SIX, True),
        ("[fd00:1::5]:6443", SIX, False),
        ("", "https://127.7.0.1:6443", True),
        ("", "https://[::1]:6443", True),
        ("", "https://localhost:6443", True),
    ],
)
def test_no_proxy(no_proxy: str, server: str, direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        found = proxy_of(server, None, {"HTTPS_PROXY": PROXY, name: no_proxy})
        assert found == (None if direct else PROXY)


def test_which_variable() -> None:
    environment = {"https_proxy": "proxy:3128", "HTTP_PROXY": "http://other", "ALL_PROXY": "no"}
    assert proxy_of(NAME, None, environment) == PROXY
    assert proxy_of("http://10.1.2.3", None, environment) == "http://other"
    assert proxy_of(NAME, None, {"HTTPS_PROXY": "", "https_proxy": ""}) is None
    assert proxy_of(NAME, None, {**environment, "HTTPS_PROXY": "http://upper"}) == "http://upper"


def test_the_kubeconfigs_own() -> None:
    """It is for this server: no exception applies."""
    environment = {"HTTPS_PROXY": "http://other", "NO_PROXY": "*"}
    assert proxy_of(NAME, "https://u:p@own:1", environment) == "https://u:p@own:1"
    assert proxy_of("https://127.0.0.1", PROXY, {}) == PROXY


def test_what_cannot_be_used() -> None:
    for proxy in ("socks5://proxy:1080", "proxy:3128", "ftp://proxy", "http://"):
        with pytest.raises(ValueError, match=r"^proxy-url names no proxy with http:// or https://"):
            proxy_of(NAME, proxy, {})
    with pytest.raises(ValueError, match=r"^HTTPS_PROXY names no proxy with http:// or https://"):
        proxy_of(NAME, None, {"HTTPS_PROXY": "socks5://proxy"})
