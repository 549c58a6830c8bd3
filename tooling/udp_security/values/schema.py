# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Checks values against the chart's values.schema.json, the file that Helm itself enforces."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jsonschema_rs import Draft7Validator, ValidationError

from udp_security.values import words
from udp_security.values.problem import Path


@dataclass(frozen=True)
class SchemaProblem:
    """What the schema refuses. `at_key`: the key itself is wrong, not its value."""

    path: Path
    message: str
    at_key: bool = False


class Origin(Protocol):
    """What the user wrote to get the values, on which the right words depend."""

    def removed(self, path: Path) -> bool:
        """Whether it is a null, which took the default away."""

    def is_set(self, path: Path) -> bool:
        """Whether the value comes from --set, whose language has no quotes."""


def check(
    values: Mapping[str, Any], schema: Mapping[str, Any], origin: Origin
) -> list[SchemaProblem]:
    """All violations, each said once."""
    validator = Draft7Validator(dict(schema))
    errors = list(validator.iter_errors(dict(values)))
    mistyped = {tuple(error.instance_path) for error in errors if error.schema_path[-1] == "type"}
    found: dict[tuple[Path, str], SchemaProblem] = {}
    for error in errors:
        # A value of the wrong type is no choice and matches no pattern either.
        if error.schema_path[-1] != "type" and tuple(error.instance_path) in mistyped:
            continue
        for problem in _explain(error, values, schema, origin):
            found.setdefault((problem.path, problem.message), problem)
    return list(found.values())


def _explain(
    error: ValidationError,
    values: Mapping[str, Any],
    schema: Mapping[str, Any],
    origin: Origin,
) -> Iterator[SchemaProblem]:
    path: Path = tuple(error.instance_path)
    value: Any = values
    for step in path:
        value = value[step]
    *steps, keyword = error.schema_path
    rule, kind = _resolve(schema, steps)
    if keyword == "additionalProperties":
        known = list(rule.get("properties", {}))
        for key in value:
            if key not in known:
                yield SchemaProblem((*path, key), words.unknown_key(key, known), at_key=True)
    elif keyword == "required":
        for key in rule["required"]:
            if key in value:
                continue
            inner = _property(schema, rule, key)
            if origin.removed((*path, key)):
                yield SchemaProblem((*path, key), words.removed_key(inner))
            else:
                yield SchemaProblem(path, words.missing_key(key, inner))
    elif keyword == "type":
        yield SchemaProblem(path, words.wrong_type(value, rule, kind, origin.is_set(path)))
    elif keyword == "enum":
        yield SchemaProblem(path, words.not_a_choice(value, rule["enum"]))
    elif keyword in ("pattern", "minimum", "maximum") or (
        keyword == "maxLength" and "pattern" in rule
    ):
        yield SchemaProblem(path, words.not_matching(value, rule, kind, origin.is_set(path)))
    elif keyword in ("minItems", "uniqueItems", "minLength", "maxLength"):
        yield SchemaProblem(path, words.wrong_length(value, rule, keyword))
    else:
        yield SchemaProblem(path, error.message)


def _property(schema: Mapping[str, Any], rule: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """What `rule`, a part of the schema, says of a key."""
    inner: Mapping[str, Any] = rule.get("properties", {}).get(key, {})
    if "$ref" in inner:
        inner, _ = _resolve(schema, inner["$ref"].removeprefix("#/").split("/"))
    return inner


def _resolve(schema: Mapping[str, Any], steps: Sequence[str | int]) -> tuple[Any, str]:
    """The subschema at `steps`, and the last name given to one on the way (a property, a
    definition)."""
    here: Any = schema
    kind = ""
    named = False
    for step in steps:
        if step == "$ref":
            pointer = here["$ref"].removeprefix("#/").split("/")
            here, kind = _resolve(schema, pointer)
            continue
        if named:
            kind = str(step)
        named = not named and step in ("properties", "definitions")
        here = here[step]
    return here, kind
