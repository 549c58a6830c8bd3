# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The patches that clients of Kubernetes send, as far as this project's objects need them."""

from __future__ import annotations

from typing import Any

# Which field tells two items of a list apart; other lists are replaced as a whole.
_KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}


def merge(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic_merge(old: Any, patch: Any) -> Any:
    """Kubernetes' own: maps are merged, and the lists that have a key, item by item."""
    if not isinstance(patch, dict) or not isinstance(old, dict):
        return patch
    result = dict(old)
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
        elif key in _KEYS and isinstance(value, list):
            result[key] = _merge_items(result.get(key) or [], value, _KEYS[key])
        else:
            result[key] = strategic_merge(result.get(key), value)
    if kept := patch.get("$retainKeys"):
        result = {key: value for key, value in result.items() if key in kept}
    for directive, order in patch.items():
        name = directive.removeprefix("$setElementOrder/")
        if name != directive and name in _KEYS:
            places = [item[_KEYS[name]] for item in order]
            result[name].sort(key=lambda item: places.index(item[_KEYS[name]]))
    return result


def _merge_items(old: list[Any], patch: list[Any], key: str) -> list[Any]:
    items = {item[key]: item for item in old}
    for change in patch:
        if change.get("$patch") == "delete":
            items.pop(change[key], None)
        else:
            items[change[key]] = strategic_merge(items.get(change[key]), change)
    return list(items.values())


def apply(old: Any, wanted: Any, before: Any) -> Any:
    """Server-side apply by one manager: what it wanted `before` and doesn't any more, goes."""
    if not isinstance(wanted, dict):
        return wanted
    result = dict(old) if isinstance(old, dict) else {}
    earlier = before if isinstance(before, dict) else {}
    for key in earlier.keys() - wanted.keys():
        result.pop(key, None)
    for key, value in wanted.items():
        result[key] = apply(result.get(key), value, earlier.get(key))
    return result
