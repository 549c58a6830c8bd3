# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""From the user's files and --set options to merged values and everything wrong with them."""

import json
from collections.abc import Sequence
from pathlib import Path as FilePath

from udp_security import policy
from udp_security.values import schema
from udp_security.values.load import read
from udp_security.values.merge import Values
from udp_security.values.problem import SETTING, ValuesError, ValuesProblem
from udp_security.values.repair import repair


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
    """Everything that is wrong with the merged values, in the order in which people read.

    What the schema refuses does not keep the rest from being checked, except that nothing is said
    about the policy as a whole (a lifeline is cut off) while a part of it cannot be read.
    """
    rules = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    formal = schema.check(values.merged, rules, values)
    found = [
        ValuesProblem(
            values.locate_key(problem.path) if problem.at_key else values.locate(problem.path),
            problem.path,
            problem.message,
        )
        for problem in formal
    ]
    repaired = repair(values.merged, {problem.path for problem in formal})
    found += [
        ValuesProblem(values.locate(problem.path), problem.path, problem.message)
        # Once each: a stand-in may be the double of what a rule is blamed for.
        for problem in dict.fromkeys(policy.check(repaired.values, whole=repaired.whole))
        if problem.path not in repaired.unsure
    ]
    found.sort(key=lambda problem: _reading_order(values, problem))
    return found


def _reading_order(values: Values, problem: ValuesProblem) -> tuple[int, int, int]:
    names = [*values.names, SETTING]
    file = problem.position.file
    order = names.index(file) if file in names else len(names)
    return order, problem.position.line, problem.position.column
