# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What an unquoted YAML scalar means to Helm.

Helm reads values with a Go library whose rules are neither YAML 1.1's (PyYAML's) nor 1.2's: `yes`
and `on` are true, `010` is 8, but `1:2:3:4:5:6:7:8`, a sexagesimal number for PyYAML, stays the
text that an IPv6 address must be, and so do dates.
"""

import math
import re

Scalar = str | int | float | bool | None

_WORDS: dict[str, Scalar] = {"": None, "~": None}
for _word, _value in (
    ("y", True),
    ("yes", True),
    ("true", True),
    ("on", True),
    ("n", False),
    ("no", False),
    ("false", False),
    ("off", False),
    ("null", None),
):
    _WORDS.update({_word: _value, _word.capitalize(): _value, _word.upper(): _value})
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NUMBER_START = frozenset("+-.0123456789")
_INTEGER = re.compile(
    r"[-+]?(0[xX](?P<hex>[0-9A-Fa-f]+)|0[bB](?P<bin>[01]+)|0[oO]?(?P<oct>[0-7]+)|(0|[1-9][0-9]*))"
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INT64_MIN, _UINT64_MAX = -(2**63), 2**64 - 1


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar; a float without a fraction is an int, as in Helm's JSON.

    Raises ValueError for infinities and NaN, which Helm cannot read either.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_START:
        return text
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is not a number that values can hold (write a finite number)")
    digits = text.replace("_", "") if text[0] != "." else text
    if match := _INTEGER.fullmatch(digits):
        number = _integer(match)
        if _INT64_MIN <= number <= _UINT64_MAX:
            return number
    if _FLOAT.fullmatch(digits):
        real = float(digits)
        if math.isfinite(real):
            return int(real) if real.is_integer() else real
    return text


def _integer(match: re.Match[str]) -> int:
    for group, base in (("hex", 16), ("bin", 2), ("oct", 8)):
        if match[group]:
            return int(match[group], base) * (-1 if match[0][0] == "-" else 1)
    return int(match[0])
