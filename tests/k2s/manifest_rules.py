# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The rules for an addon.manifest.yaml: those of K2s's schema, and those whose breach it misses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

Document = dict[str, Any]

#: K2s's own: of every command, and of help.
_TAKEN_NAMES: Final = {"output", "verbose", "help"}
_TAKEN_SHORTHANDS: Final = {"o", "v", "h"}
_TYPES: Final = (str, bool, int, float)
_OFFLINE: Final = {"linux": ("repos", "deb", "additionalImages", "curl"), "windows": ("curl",)}


def violations(manifest: object) -> list[str]:
    """What is wrong with a manifest; nothing if it is good."""
    return list(_of_manifest(manifest))


def _of_manifest(manifest: Any) -> Iterator[str]:
    if not isinstance(manifest, dict):
        yield "no object"
        return
    if manifest.get("apiVersion") != "v1":
        yield "apiVersion is not v1"
    if manifest.get("kind") != "AddonManifest":
        yield "kind is not AddonManifest"
    metadata = manifest.get("metadata", {})
    for key in ("name", "description"):
        if not isinstance(metadata.get(key), str) or not metadata[key]:
            yield f"metadata.{key} is no text"
    implementations = manifest.get("spec", {}).get("implementations")
    if not implementations:
        yield "there is no implementation"
        return
    names = [implementation.get("name") for implementation in implementations]
    if names != [metadata.get("name")]:
        yield "the implementation's name is not the addon's: scripts are not looked for in its root"
    for implementation in implementations:
        yield from _of_implementation(implementation)


def _of_implementation(implementation: Document) -> Iterator[str]:
    if not isinstance(implementation.get("version", ""), str):
        yield "version is no text"
    offline = implementation.get("offline_usage")
    for system, keys in _OFFLINE.items():
        for key in keys:
            if offline is not None and not isinstance(offline.get(system, {}).get(key), list):
                yield f"offline_usage.{system}.{key} is no list"
    commands = implementation.get("commands", {})
    for name in ("enable", "disable"):
        if name not in commands:
            yield f"there is no command {name}"
    for name, command in commands.items():
        for problem in _of_command(command):
            yield f"{name}: {problem}"


def _of_command(command: Document) -> Iterator[str]:
    script = command.get("script", {})
    if not isinstance(script.get("subPath"), str):
        yield "script.subPath is missing"
    mappings = script.get("parameterMappings", [])
    mapped = [mapping.get("cliFlagName") for mapping in mappings]
    if any(not mapping.get("scriptParameterName") for mapping in mappings):
        yield "a mapping has no scriptParameterName"
    flags = command.get("cli", {}).get("flags", [])
    names = [flag.get("name") for flag in flags]
    for name in mapped:
        if name not in names:
            yield f"a mapping is for no flag: {name}"
    for flag in flags:
        if flag.get("name") not in mapped:
            yield f"{flag.get('name')} is mapped to no parameter, so it would be ignored"
        yield from _of_flag(flag)
    shorthands = [flag["shorthand"] for flag in flags if "shorthand" in flag]
    for taken in (names, shorthands):
        if len(set(taken)) < len(taken):
            yield "a flag is there twice"
    for example in command.get("cli", {}).get("examples", []):
        if not isinstance(example.get("cmd"), str):
            yield "an example has no cmd"


def _of_flag(flag: Document) -> Iterator[str]:
    name = flag.get("name")
    if not isinstance(name, str):
        yield "a flag has no name"
    if name in _TAKEN_NAMES or flag.get("shorthand") in _TAKEN_SHORTHANDS:
        yield f"{name}: the name or the shorthand is K2s's own"
    default = flag.get("default")
    if not isinstance(default, _TYPES):
        yield f"{name} has no default of a type that K2s knows"
        return
    if default is True:
        yield f"{name}: nobody could switch it off, since -P:$false arrives as -P:False"
    constraints = flag.get("constraints")
    if constraints is None:
        return
    if constraints.get("kind") == "validation-set":
        allowed = constraints.get("validationSet")
        if not allowed or len(set(allowed)) < len(allowed):
            yield f"{name}: validationSet is empty or has a value twice"
        elif default not in allowed:
            yield f"{name}: the default is not in its set"
    elif constraints.get("kind") == "range":
        limits = constraints.get("range", {})
        if not {"min", "max"} <= limits.keys():
            yield f"{name}: range lacks min or max"
        elif isinstance(default, str) or not limits["min"] <= default <= limits["max"]:
            yield f"{name}: the default is not in its range"
    else:
        yield f"{name}: constraints are of no kind"
