# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What is wrong with a user's values, and where it stands."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

Path = tuple[str | int, ...]

#: What a Position calls the --set options instead of a file.
SETTING = "--set"

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dotted(path: Path) -> str:
    """A path as people write it: `rules[2].from[0]`, `linux.nodeSelector["kubernetes.io/os"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            # As JSON, so that no control character reaches a terminal.
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


@dataclass(frozen=True, order=True)
class Position:
    """A place in the user's input. Lines and columns count from 1, columns in characters.

    For `--set` the file is SETTING, the line counts the options, the column is within the option.
    """

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class ValuesProblem:
    """One thing that is wrong: its place, the path into the values (empty: all), the words."""

    position: Position
    path: Path
    message: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.position), dotted(self.path), self.message)))

    def as_json(self) -> dict[str, str | int]:
        """The keys file, line, column, path and message."""
        return {
            "file": self.position.file,
            "line": self.position.line,
            "column": self.position.column,
            "path": dotted(self.path),
            "message": self.message,
        }


class ValuesError(Exception):
    """Values that cannot be read at all: no file, no YAML, no `key=value`."""

    def __init__(self, problems: Iterable[ValuesProblem], *, unreadable: bool = False) -> None:
        self.problems = list(problems)
        #: True when a file could not even be opened.
        self.unreadable = unreadable
        super().__init__("\n".join(map(str, self.problems)))
