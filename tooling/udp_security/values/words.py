# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The schema's refusals in words that say what to write instead."""

import difflib
import ipaddress
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a map",
    "string": "text",
}


def show(value: Any) -> str:
    """A value as it could stand in a values file, shortened."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def unknown_key(key: str, known: Sequence[str]) -> str:
    """`key` is not one of the `known` ones."""
    if near := _nearest(key, known):
        return f'unknown key (did you mean "{near}"?)'
    return f"unknown key (known here: {', '.join(sorted(known)) or 'none'})"


def missing_key(key: str, schema: Mapping[str, Any]) -> str:
    """A required key is absent."""
    return f'"{key}" is missing (add {key}: {_wanted(schema)})'


def removed_key(schema: Mapping[str, Any]) -> str:
    """A required key was there by default and a null took it away."""
    return f"null removes the default of a value that is needed (write {_wanted(schema)})"


def wrong_type(value: Any, schema: Mapping[str, Any], kind: str, is_set: bool) -> str:
    """The value has another type than that of `schema`, which stands under the name `kind`.

    `is_set`: it comes from --set, where quotes do not count and lists are written in braces.
    """
    types = _types(schema)
    wanted = _wanted(schema)
    if isinstance(value, (dict, list)) or value is None:
        return f"is {_type(value)}, not {wanted} (write {wanted})"
    found = f"{show(value)} is {_type(value)}, not {wanted}"
    if _has_remedy(kind, schema):
        return f"{show(value)} is not {wanted} ({_remedy(value, kind, is_set)[1]})"
    if types == ["array"]:
        return f"{found} (write {f'{{{value}}}' if is_set else f'[{show(value)}]'})"
    if types == ["string"] and "enum" not in schema:
        where = "put it into a values file, in quotes" if is_set else "put it in quotes"
        return f'{found} ({where}: "{show(value)}")'
    if isinstance(value, str) and set(types) & {"integer", "number", "boolean"}:
        where = f"write {wanted}, or put it into a values file" if is_set else "write it"
        return f"{found} ({where} without quotes)"
    return f"{found} (write {wanted})"


def not_a_choice(value: Any, choices: Sequence[Any]) -> str:
    """The value is not in the schema's enum."""
    near = _nearest(str(value), [str(choice) for choice in choices])
    listed = _either(choices)
    if near:
        return f'{show(value)} is not {listed} (did you mean "{near}"?)'
    return f"{show(value)} is not {listed} (write one of these)"


def not_matching(value: Any, schema: Mapping[str, Any], kind: str, is_set: bool) -> str:
    """The value breaks a pattern or a bound of `schema`, which stands under the name `kind`.

    `is_set`: it comes from --set.
    """
    reason, remedy = "", _limits(schema)
    if _has_remedy(kind, schema):
        reason, remedy = _remedy(value, kind, is_set)
    noun = schema.get("description", "allowed")
    return f"{show(value)} is not {noun}{f': {reason}' if reason else ''} ({remedy})"


def wrong_length(value: Any, schema: Mapping[str, Any], keyword: str) -> str:
    """A list or text is too short, too long, or has repetitions."""
    bound = schema[keyword]
    if keyword == "minItems":
        return (
            "the list is empty, which would allow nothing (list at least one entry, or leave the "
            "key out)"
        )
    if keyword == "uniqueItems":
        twice = [item for i, item in enumerate(value) if item in value[:i]]
        return f"{show(twice[0])} is listed twice (remove one)"
    if keyword == "minLength":
        return "the text is empty (write something)"
    return f"the text has {len(value)} characters (shorten it to {bound})"


def _nearest(word: str, known: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else None


def _either(choices: Sequence[Any]) -> str:
    *first, last = map(str, choices)
    return f"{', '.join(first)} or {last}" if first else last


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _type(value: Any) -> str:
    if value is None:
        return "null"
    for python, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if isinstance(value, python):
            return "a truth value" if python is bool else _TYPES[name]
    return _TYPES["object" if isinstance(value, dict) else "array"]


def _wanted(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return _either(schema["enum"])
    noun = schema.get("description")
    types = " or ".join(_TYPES[name] for name in _types(schema))
    return noun if noun and "array" not in _types(schema) else types or "something else"


def _limits(schema: Mapping[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f"write a number from {schema['minimum']} to {schema['maximum']}"
    return f"it must match {schema.get('pattern')}"


def _has_remedy(kind: str, schema: Mapping[str, Any]) -> bool:
    """Remedies are for texts; a port that can only be a number has its limits."""
    return kind in _REMEDIES and "string" in _types(schema)


def _remedy(value: Any, kind: str, is_set: bool) -> tuple[str, str]:
    """Why the value is none of its kind, "" if that says nothing more, and what to write."""
    reason, remedy = _REMEDIES[kind](str(value))
    return reason, remedy.replace(_IN_QUOTES, "") if is_set else remedy


_IN_QUOTES = " in quotes"


def _port(value: str) -> tuple[str, str]:
    remedy = f'write a number from 1 to 65535, or a range{_IN_QUOTES} such as "5000-5100"'
    low, hyphen, high = value.partition("-")
    for number in (low, high):
        if hyphen and number.isdecimal() and not 1 <= int(number) <= 65535:
            return f"{number} is not in 1-65535", remedy
    return "", remedy


def _cidr(value: str) -> tuple[str, str]:
    if _is_mixed(value):
        return _MIXED
    family = ipaddress.IPv6Network if ":" in value else ipaddress.IPv4Network
    example = "fd00:10::/64 or fd00::7" if ":" in value else "10.1.0.0/16 or 10.1.2.3"
    return _reason(family, value), f"write it as in {example}"


def _address(value: str) -> tuple[str, str]:
    if _is_mixed(value):
        return _MIXED
    family = ipaddress.IPv6Address if ":" in value else ipaddress.IPv4Address
    return _reason(family, value), f"write it as in {'fd00::7' if ':' in value else '10.1.2.3'}"


_MIXED = (
    "IPv4 notation inside IPv6",
    "write the IPv4 address if that is meant, else hexadecimal groups",
)


def _is_mixed(value: str) -> bool:
    return ":" in value and "." in value


def _reason(parse: Callable[[str], object], value: str) -> str:
    """Why Python refuses the value, if it does and says more than that."""
    if not any(char.isdigit() for char in value):
        return "names are not looked up" if any(char.isalpha() for char in value) else ""
    try:
        parse(value)
    except ValueError as error:
        reason = (
            str(error).replace(f" in {value!r}", "").replace(f" not permitted in {value!r}", "")
        )
        return "" if "does not appear" in reason else reason[:1].lower() + reason[1:]
    return ""


def _label(value: str) -> tuple[str, str]:
    reason = f"{len(value)} characters, more than 63" if len(value) > 63 else ""
    return reason, 'write lower-case letters, digits and inner hyphens, as in "ward-syslog"'


_REMEDIES: dict[str, Callable[[str], tuple[str, str]]] = {
    "port": _port,
    "cidr": _cidr,
    "address": _address,
    "name": _label,
}
