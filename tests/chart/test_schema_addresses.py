# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The schema's patterns for addresses, held to Python's ipaddress.

They differ on purpose where a text would mean something that the ruleset doesn't write, or that
people misread: IPv4 notation inside IPv6, zones, netmasks, prefix lengths with leading zeros.
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft7Validator

from .support import CHART, Helm, Refused, violations

DEFINITIONS = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))["definitions"]
ADDRESS = Draft7Validator(DEFINITIONS["address"])
CIDR = Draft7Validator(DEFINITIONS["cidr"])


def is_address(text: str) -> bool:
    """Whether the schema should take it as an address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return not (":" in text and re.search("[.%]", text))


def is_cidr(text: str) -> bool:
    """Whether the schema should take it as an address or CIDR."""
    host, slash, prefix = text.partition("/")
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return is_address(host) and (not slash or bool(re.fullmatch("0|[1-9][0-9]*", prefix)))


# Few different groups, so that runs of zeros and equal neighbours are common.
GROUPS = st.one_of(st.sampled_from([0, 1, 0xA, 0xFFFF]), st.integers(0, 0xFFFF))
IPV6 = st.lists(GROUPS, min_size=8, max_size=8)
IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)


@st.composite
def ipv6_texts(draw: st.DrawFn) -> str:
    """Any way to write an IPv6 address in groups: `::` at any run of zeros or none, any case."""
    groups = draw(IPV6)
    texts = [draw(st.sampled_from([f"{g:x}", f"{g:04x}", f"{g:X}", f"{g:02x}"])) for g in groups]
    runs = [
        (start, end)
        for start in range(8)
        for end in range(start + 1, 9)
        if not any(groups[start:end])
    ]
    shorten = draw(st.booleans())
    if runs and shorten:
        start, end = draw(st.sampled_from(runs))
        return f"{':'.join(texts[:start])}::{':'.join(texts[end:])}"
    return ":".join(texts)


TEXTS = st.one_of(ipv6_texts(), IPV4.map(str))
PREFIXES = st.one_of(st.just(""), st.integers(-1, 140).map(lambda n: f"/{n}"))


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """An address, maybe with a prefix length, with a few characters replaced, removed or added."""
    text = list(draw(TEXTS) + draw(PREFIXES))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(text)))
        new = draw(st.text("019afAFg:./% -", max_size=2))
        text[place : place + draw(st.integers(0, 2))] = new
    return "".join(text)


@settings(deadline=None)
@given(IPV6, st.integers(0, 128))
def test_every_way_that_python_prints_ipv6_is_taken(groups: list[int], prefix: int) -> None:
    address = IPv6Address(b"".join(group.to_bytes(2, "big") for group in groups))
    for text in (str(address), address.compressed, address.exploded):
        if "." not in text:  # newer Pythons print IPv4-mapped addresses with dots
            for written in (text, text.upper()):
                assert ADDRESS.is_valid(written)
                assert CIDR.is_valid(f"{written}/{prefix}")


@settings(deadline=None)
@given(TEXTS, PREFIXES)
def test_every_way_to_write_an_address_is_taken(text: str, prefix: str) -> None:
    assert ADDRESS.is_valid(text)
    assert CIDR.is_valid(text)
    assert CIDR.is_valid(text + prefix) == is_cidr(text + prefix)


@settings(max_examples=500, deadline=None)
@given(mutants())
def test_mutants_are_taken_as_python_takes_them(text: str) -> None:
    assert ADDRESS.is_valid(text) == is_address(text)
    assert CIDR.is_valid(text) == is_cidr(text)


# Helm's regular expressions are Go's: the same patterns, another engine.
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(mutants(), min_size=20, max_size=60))
def test_helm_takes_the_same_mutants(helm: Helm, texts: list[str]) -> None:
    texts = [*texts, "never valid"]
    values = {"cluster": {"dnsServers": texts}, "linux": {"untrackedReplyAddresses": texts}}
    try:
        helm.template(values)
    except Refused as refused:
        refused_places = {at for at, _ in violations(refused)}
    assert refused_places == {
        f"/{key}/{index}"
        for key, takes in (
            ("cluster/dnsServers", is_cidr),
            ("linux/untrackedReplyAddresses", is_address),
        )
        for index, text in enumerate(texts)
        if not takes(text)
    }
