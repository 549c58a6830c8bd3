# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""kubeconfig files, read and put together as kubectl does.

The official client's own merging trips over an empty file, lets the last file choose the current
context, and looks for a login plugin beside the working folder; it knows no impersonation at all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from udp_security.cluster.words import one_line

# The lists of a kubeconfig, and what each item has beside its name.
_LISTS: Final = {"clusters": "cluster", "contexts": "context", "users": "user"}
_FILES: Final = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
_WHO: Final = {"as": "Impersonate-User", "as-uid": "Impersonate-Uid"}
# What a header's name may have besides letters, digits and "_.-~" (RFC 9110, 5.6.2).
_TOKEN: Final = "!#$&'*+^`|"
_UNSENDABLE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


def merged(kubeconfig: str | None) -> dict[str, Any]:
    """The kubeconfig, with the places of other files absolute.

    `kubeconfig`: None for those in $KUBECONFIG, else ~/.kube/config. Of several files the first
    that sets something wins; those that are empty or not there are left out. Raises ValueError.
    """
    # $KUBECONFIG is looked at here, for the library did so when it was imported.
    places = os.environ.get("KUBECONFIG") or "~/.kube/config"
    paths = [kubeconfig] if kubeconfig else [each for each in places.split(os.pathsep) if each]
    files = [path for path in map(_path, paths) if path.is_file()]
    if not files:
        raise ValueError(f"there is no {kubeconfig or places}")
    configs = [config for config in map(_read, files) if config]
    if not configs:
        raise ValueError(f"{kubeconfig or places} is not a kubeconfig, but empty")
    whole: dict[str, Any] = {name: [] for name in _LISTS}
    for config in configs:
        for name in _LISTS:
            known = {item["name"] for item in whole[name]}
            whole[name] += [item for item in config[name] if item["name"] not in known]
        if current := config.get("current-context"):
            whole.setdefault("current-context", current)
    return whole


def user_of(config: Mapping[str, Any], context: str | None) -> tuple[str, Mapping[str, Any]]:
    """The name of the context's user, and what the kubeconfig says of it. Raises ValueError.

    None: the current context.
    """
    name = context or config.get("current-context")
    chosen = _named(config, "contexts", name)
    if chosen is None:
        raise ValueError(f"the kubeconfig has no context {name!r}" if name else "no context is set")
    cluster, user = (_named(config, f"{key}s", chosen.get(key)) for key in ("cluster", "user"))
    if not (cluster and cluster.get("server")):
        raise ValueError(f"the kubeconfig has no server of the cluster of context {name!r}")
    if user is None:
        raise ValueError(f"the kubeconfig has no user of context {name!r}")
    return chosen["user"], user


def impersonation(user: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers with which the user acts as another one, as client-go sends them.

    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation.
    Raises ValueError.
    """
    extra, groups = user.get("as-user-extra", {}), user.get("as-groups", [])
    if not isinstance(extra, dict) or not all(isinstance(each, list) for each in extra.values()):
        raise ValueError("as-user-extra is not a mapping to lists")
    if not isinstance(groups, list):
        raise ValueError("as-groups is not a list")
    headers = [
        *((header, user[key]) for key, header in _WHO.items() if key in user),
        *(("Impersonate-Group", group) for group in groups),
        *(
            (f"Impersonate-Extra-{quote(str(key), safe=_TOKEN)}", value)
            for key, values in extra.items()
            for value in values
        ),
    ]
    if headers and "as" not in user:
        raise ValueError("as-uid, as-groups and as-user-extra need as")
    for name, value in headers:
        if not is_sendable(value):
            raise ValueError(f"what {name} would say is not a text without control characters")
    return headers


def is_sendable(value: object) -> bool:
    """Whether it is a text that a header may have (RFC 9110, 5.5)."""
    return isinstance(value, str) and not _UNSENDABLE.search(value)


def _named(config: Mapping[str, Any], list_: str, name: object) -> Mapping[str, Any] | None:
    return next((each[_LISTS[list_]] for each in config[list_] if each["name"] == name), None)


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _read(path: Path) -> dict[str, Any]:
    """One file; nothing where it is empty. Raises ValueError and OSError, both with its name."""
    try:
        with path.open(encoding="utf-8") as file:
            config = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {one_line(str(error))}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is not a kubeconfig: it is nested too deeply") from error
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise ValueError(f"{path} is not a kubeconfig")
    return {**config, **{name: _items(config.get(name), name, path) for name in _LISTS}}


def _items(items: object, name: str, path: Path) -> list[dict[str, Any]]:
    """One of its lists, each item with a name and the mapping that belongs to it."""
    if items is not None and not isinstance(items, list):
        raise ValueError(f"{path}: {name} is not a list")
    kind = _LISTS[name]
    found = []
    for item in items or ():
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise ValueError(f"{path}: {name} has an item without a name")
        content = item.get(kind) or {}
        if not isinstance(content, dict):
            raise ValueError(f"{path}: {name} {item['name']!r} has no mapping {kind!r}")
        found.append({"name": item["name"], kind: _located(content, path.parent.absolute())})
    return found


def _located(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """With the places of files absolute, and without what is not set."""
    found = {key: value for key, value in content.items() if value not in (None, "")}
    for key in _FILES:
        if isinstance(found.get(key), str):
            found[key] = str(folder / found[key])
    plugin = found.get("exec")
    # A name alone is looked for on PATH.
    if isinstance(plugin, dict) and os.sep in str(plugin.get("command", "")):
        found["exec"] = {**plugin, "command": str(folder / str(plugin["command"]))}
    return found
