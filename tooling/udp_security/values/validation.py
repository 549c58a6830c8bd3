# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""From the user's files and --set options to merged values and everything wrong with them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from udp_security import policy
from udp_security.values import schema
from udp_security.values.load import read
from udp_security.values.merge import Values
from udp_security.values.problem import Path, ValuesError, ValuesProblem

# What the semantic checks read beside the rules. A schema error in one of these makes them moot;
# one in a rule leaves that rule out.
_SEMANTIC_PATHS: tuple[Path, ...] = (
    ("presets",),
    ("cluster",),
    ("dangerouslyCutOff",),
    ("rules",),
    ("linux", "enabled"),
    ("linux", "scope"),
    ("linux", "untrackedReplyAddresses"),
)


def load(chart: FilePath, files: Sequence[str], settings: Sequence[str]) -> Values:
    """Reads and merges the layers on top of the chart's defaults.

    Raises ValuesError with the problems of all files that cannot be read.
    """
    defaults = read(str(chart / "values.yaml"))
    loaded = []
    problems: list[ValuesProblem] = []
    unreadable = False
    for name in files:
        try:
            loaded.append(read(name))
        except ValuesError as error:
            problems += error.problems
            unreadable = unreadable or error.unreadable
    if problems:
        raise ValuesError(problems, unreadable=unreadable)
    return Values(defaults, loaded, settings)


def check(values: Values, chart: FilePath) -> list[ValuesProblem]:
    """Everything that is wrong with the merged values: the schema's errors, then semantic ones."""
    rules = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))

    def removed(path: Path) -> bool:
        place: Any = values.overrides
        for step in path:
            if not isinstance(place, dict) or step not in place:
                return False
            place = place[step]
        return place is None

    found = schema.check(values.merged, rules, removed)
    formal = [
        ValuesProblem(
            values.locate_key(problem.path) if problem.at_key else values.locate(problem.path),
            problem.path,
            problem.message,
        )
        for problem in found
    ]
    formal.sort(key=lambda problem: _reading_order(values, problem))
    semantic = [
        ValuesProblem(values.locate(path), path, message)
        for path, message in _semantic(values.merged, [problem.path for problem in found])
    ]
    semantic.sort(key=lambda problem: _reading_order(values, problem))
    return formal + semantic


def _semantic(values: Mapping[str, Any], bad: Sequence[Path]) -> list[tuple[Path, str]]:
    """The semantic problems as (path, message), as far as the schema's errors at `bad` let them be
    told.

    A bad rule is left out. What is then said about another rule alone or about pairs of them is
    still true; what is said about the policy as a whole (a lifeline is cut off) may not be.
    """
    if not bad:
        return [(tuple(problem.path), problem.message) for problem in policy.check(values)]
    bad_rules = set()
    for path in bad:
        if len(path) >= 2 and path[0] == "rules":
            bad_rules.add(path[1])
        elif any(path[: len(needed)] == needed[: len(path)] for needed in _SEMANTIC_PATHS):
            return []
    kept = [index for index in range(len(values["rules"])) if index not in bad_rules]
    subset = {**values, "rules": [values["rules"][index] for index in kept]}
    found = []
    for problem in policy.check(subset):
        path = tuple(problem.path)
        if len(path) >= 2 and path[0] == "rules":
            found.append((("rules", kept[int(path[1])], *path[2:]), problem.message))
        elif not bad_rules:
            found.append((path, problem.message))
    return found


def _reading_order(values: Values, problem: ValuesProblem) -> tuple[int, int, int]:
    names = [*values.names, "--set"]
    file = problem.position.file
    order = names.index(file) if file in names else len(names)
    return order, problem.position.line, problem.position.column
