# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What programs get and give: Windows PowerShell's way with arguments, options, output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Line:
    """A line of a program's output; `error` if it went to standard error."""

    text: str
    error: bool = False


@dataclass
class Result:
    """What a program's run came to."""

    code: int = 0
    lines: list[Line] = field(default_factory=list)


class ToolError(Exception):
    """A program fails: what it says on standard error, and on standard output before."""

    def __init__(self, error: str, output: str = "") -> None:
        super().__init__(error)
        self.output = output


class UnknownCallError(Exception):
    """A test's fault, not the script's: the fakes don't know this call and must learn it."""


def output(text: str, warning: str = "") -> Result:
    """A success that prints a text, and perhaps a warning."""
    lines = [Line(line) for line in text.splitlines()]
    return Result(0, ([Line(warning, True)] if warning else []) + lines)


def failure(error: ToolError) -> Result:
    printed = [Line(line) for line in error.output.splitlines()]
    return Result(1, printed + [Line(line, True) for line in str(error).splitlines()])


def received(arguments: Iterable[str]) -> list[str]:
    """The arguments that a program gets when Windows PowerShell 5.1 runs it with these.

    It quotes those with blanks, escapes nothing and drops empty ones; the program's C library
    splits the command line again.
    """
    return _split(" ".join(_quoted(argument) for argument in arguments if argument))


def _quoted(argument: str) -> str:
    quotes = 0
    for character in argument:
        quotes += character == '"'
        if character.isspace() and quotes % 2 == 0:
            return f'"{argument}"'
    return argument


def _split(line: str) -> list[str]:
    """As Microsoft's C library: 2n backslashes before a quote mean n, 2n + 1 n and the quote."""
    found: list[str] = []
    current: str | None = None
    inside = False
    for slashes, character in re.findall(r'(\\*)("|[^\\"]|$)', line, flags=re.DOTALL):
        current = (current or "") + slashes if slashes and character != '"' else current
        if character == '"':
            current = (current or "") + "\\" * (len(slashes) // 2)
            if len(slashes) % 2:
                current += '"'
            else:
                inside = not inside
        elif character in (" ", "\t") and not inside:
            if current is not None:
                found.append(current)
            current = None
        elif character:
            current = (current or "") + character
    return found if current is None else [*found, current]


def options(
    arguments: Sequence[str], known: Mapping[str, bool]
) -> tuple[list[str], dict[str, list[str]]]:
    """Split arguments into words and options: `known` says which take a value.

    An option's name has its dashes. Raises ToolError for an option that is not known.
    """
    words: list[str] = []
    found: dict[str, list[str]] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            words.append(argument)
            continue
        name, equals, value = argument.partition("=")
        if not name.startswith("--") and len(name) > 2:
            name, equals, value = name[:2], "=", argument[2:].removeprefix("=")
        if name not in known:
            raise ToolError(f"Error: unknown flag: {name}")
        if known[name] and not equals:
            if not rest:
                raise ToolError(f"Error: flag needs an argument: {name}")
            value = rest.pop(0)
        found.setdefault(name, []).append(value)
    return words, found
