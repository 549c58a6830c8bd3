# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The objects of a fake cluster, with what happens to them: changes are kept for watches."""

from __future__ import annotations

import asyncio
import copy
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from tests.cluster import patches

Object = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """A kind of objects that the API server has."""

    group: str
    name: str
    kind: str
    namespaced: bool = True

    @property
    def version(self) -> str:
        """The apiVersion of its objects."""
        return f"{self.group}/v1" if self.group else "v1"


RESOURCES = (
    Resource("", "namespaces", "Namespace", namespaced=False),
    Resource("", "nodes", "Node", namespaced=False),
    Resource("", "pods", "Pod"),
    Resource("", "configmaps", "ConfigMap"),
    Resource("", "secrets", "Secret"),
    Resource("", "services", "Service"),
    Resource("apps", "daemonsets", "DaemonSet"),
    Resource("apps", "controllerrevisions", "ControllerRevision"),
    Resource("networking.k8s.io", "servicecidrs", "ServiceCIDR", namespaced=False),
)


def resource(name: str) -> Resource:
    """The resource of that name, in the plural."""
    return next(found for found in RESOURCES if found.name == name)


class Refusal(Exception):
    """The API server does not do it: an HTTP status, with its reason and a message."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True)
class Change:
    """Something that happened: ADDED, MODIFIED or DELETED."""

    version: int
    type: str
    resource: Resource
    object: Object


class Store:
    """All objects. Every change wakes those who wait for `changed`.

    What leaves it is a copy; what changes goes through here.
    """

    def __init__(self) -> None:
        self.version = 0
        self.changes: list[Change] = []
        self.changed = asyncio.Condition()
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._applied: dict[tuple[str, str, str, str], Object] = {}

    def list(
        self, kind: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> list[Object]:
        """The objects of a resource; of one namespace, if it is named; that selectors match."""
        return [
            copy.deepcopy(found)
            for found in self.view(kind, namespace)
            if matches(found, labels, fields)
        ]

    def view(self, kind: str, namespace: str = "") -> Sequence[Object]:
        """The same, not copied: for those who only look, and look often."""
        found = [key for key in self._objects if key[0] == kind and namespace in ("", key[1])]
        return [self._objects[key] for key in sorted(found)]

    def get(self, kind: str, namespace: str, name: str) -> Object:
        """One object. Raises Refusal (404)."""
        found = self._objects.get((kind, namespace, name))
        if found is None:
            raise Refusal(404, "NotFound", f'{kind} "{name}" not found')
        return copy.deepcopy(found)

    def create(self, kind: str, namespace: str, document: Object) -> Object:
        """Raises Refusal where it is there already, or its namespace is not."""
        about = resource(kind)
        name = document["metadata"]["name"]
        if (kind, namespace, name) in self._objects:
            raise Refusal(409, "AlreadyExists", f'{kind} "{name}" already exists')
        if about.namespaced:
            space = self.get("namespaces", "", namespace)
            if "deletionTimestamp" in space["metadata"]:
                raise Refusal(403, "Forbidden", f"namespace {namespace} is being terminated")
        created = copy.deepcopy(document)
        created.update(apiVersion=about.version, kind=about.kind)
        metadata = created["metadata"]
        metadata.update(uid=str(uuid.uuid4()), creationTimestamp=now(), generation=1)
        if about.namespaced:
            metadata["namespace"] = namespace
        return self._put("ADDED", about, created)

    def change(
        self, kind: str, namespace: str, name: str, edit: Callable[[Object], Object]
    ) -> Object:
        """Replaces an object by what `edit` makes of it. Raises Refusal (404)."""
        old = self.get(kind, namespace, name)
        new = edit(copy.deepcopy(old))
        new.update(apiVersion=old["apiVersion"], kind=old["kind"])
        metadata = new["metadata"]
        for key in ("uid", "creationTimestamp", "generation", "namespace", "resourceVersion"):
            if key in old["metadata"]:
                metadata[key] = old["metadata"][key]
        if new == old:
            return old
        if new.get("spec") != old.get("spec"):
            metadata["generation"] += 1
        return self._put("MODIFIED", resource(kind), new)

    def replace(self, kind: str, namespace: str, document: Object) -> Object:
        """Replaces an object by another of its name. Raises Refusal (404)."""
        return self.change(kind, namespace, document["metadata"]["name"], lambda _: document)

    def apply(self, kind: str, namespace: str, name: str, manager: str, document: Object) -> Object:
        """Server-side apply, without conflicts."""
        key = kind, namespace, name, manager
        before = self._applied.get(key, {})
        if (kind, namespace, name) in self._objects:
            done = self.change(kind, namespace, name, lambda o: patches.apply(o, document, before))
        else:
            done = self.create(kind, namespace, document)
        self._applied[key] = copy.deepcopy(document)
        return done

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """At once, whatever an end would need. Raises Refusal (404)."""
        found = self.get(kind, namespace, name)
        del self._objects[kind, namespace, name]
        for key in [key for key in self._applied if key[:3] == (kind, namespace, name)]:
            del self._applied[key]
        self._note("DELETED", resource(kind), found)

    def since(self, version: int) -> Iterator[Change]:
        """What happened after that version."""
        return (change for change in self.changes if change.version > version)

    def _put(self, what: str, about: Resource, new: Object) -> Object:
        metadata = new["metadata"]
        self._objects[about.name, metadata.get("namespace", ""), metadata["name"]] = new
        self._note(what, about, new)
        return copy.deepcopy(new)

    def _note(self, what: str, about: Resource, item: Object) -> None:
        self.version += 1
        item["metadata"]["resourceVersion"] = str(self.version)
        self.changes.append(Change(self.version, what, about, copy.deepcopy(item)))


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def matches(item: Object, labels: str, fields: str) -> bool:
    """Whether selectors take the object; empty ones take all."""
    has = item["metadata"].get("labels") or {}
    if not all(_label(has, term) for term in re.split(r",(?![^(]*\))", labels) if term):
        return False
    for term in filter(None, fields.split(",")):
        path, _, value = term.replace("==", "=").partition("=")
        found: Any = item
        for step in path.split("."):
            found = (found or {}).get(step)
        if found != value:
            return False
    return True


def _label(has: dict[str, str], term: str) -> bool:
    term = term.strip()
    if found := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", term):
        values = [value.strip() for value in found[3].split(",")]
        return (has.get(found[1]) in values) == (found[2] == "in")
    if "!=" in term:
        key, _, value = term.partition("!=")
        return has.get(key) != value
    if "=" in term:
        key, _, value = term.replace("==", "=").partition("=")
        return has.get(key) == value
    return term.removeprefix("!") in has if not term.startswith("!") else term[1:] not in has
