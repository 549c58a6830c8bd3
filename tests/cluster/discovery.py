# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What an API server tells of itself: its version, its resources, their schema."""

from __future__ import annotations

from typing import Any

from tests.cluster.store import RESOURCES

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_GROUPS = sorted({r.group for r in RESOURCES if r.group})


def document(path: str) -> dict[str, Any] | None:
    """What stands at that path; None where nothing does."""
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0", "platform": "linux/amd64"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(map(_group, _GROUPS))}
    if path == "/openapi/v3":
        names = ["api/v1", *(f"apis/{group}/v1" for group in _GROUPS)]
        return {"paths": {n: {"serverRelativeURL": f"/openapi/v3/{n}"} for n in names}}
    if path.startswith("/openapi/v3/"):
        return _schema(path.removeprefix("/openapi/v3/"))
    return _resources(path)


def _group(name: str) -> dict[str, Any]:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resources(path: str) -> dict[str, Any] | None:
    group = "" if path == "/api/v1" else path.removeprefix("/apis/").removesuffix("/v1")
    found = [
        {"name": r.name, "singularName": "", "kind": r.kind, "namespaced": r.namespaced}
        | {"verbs": _VERBS}
        for r in RESOURCES
        if r.group == group
    ]
    if not found:
        return None
    version = f"{group}/v1" if group else "v1"
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": found,
    }


def _schema(name: str) -> dict[str, Any]:
    """Just that PATCH takes fieldValidation: kubectl and Helm leave validation to the server."""
    group = "" if name == "api/v1" else name.split("/")[1]
    paths = {}
    for r in RESOURCES:
        if r.group == group:
            kind = {"group": r.group, "version": "v1", "kind": r.kind}
            patch = {
                "parameters": [{"name": "fieldValidation", "in": "query"}],
                "responses": {},
                "x-kubernetes-group-version-kind": kind,
            }
            paths[f"/{name}/{r.name}/{{name}}"] = {"patch": patch}
    info = {"title": "Kubernetes", "version": "v1.36.0"}
    return {"openapi": "3.0.0", "info": info, "paths": paths}
