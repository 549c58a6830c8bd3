# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A fake Helm 4: the real one renders and judges values, releases are kept here."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml
from tests.k2s.artifact_places import tool
from tests.k2s.cluster import Cluster, Key
from tests.k2s.native import ToolError, UnknownCallError, options

#: The options of each command that the fake knows, and whether they take a value.
_OF_VALUES: Final = {"-f": True, "--values": True, "--set": True}
_OF_WRITING: Final = {"--server-side": True, "--force-conflicts": False}
OPTIONS: Final[Mapping[str, Mapping[str, bool]]] = {
    "upgrade": {
        **_OF_VALUES,
        **_OF_WRITING,
        "-n": True,
        "--namespace": True,
        "-i": False,
        "--install": False,
        "--take-ownership": False,
        "--reset-values": False,
        "--reuse-values": False,
        "--reset-then-reuse-values": False,
        "--history-max": True,
    },
    "rollback": {**_OF_WRITING, "-n": True, "--namespace": True},
    "uninstall": {"-n": True, "--namespace": True, "--ignore-not-found": False},
    "history": {"-n": True, "--namespace": True, "-o": True, "--output": True, "--max": True},
    "get values": {
        "-n": True,
        "--namespace": True,
        "-o": True,
        "--output": True,
        "-a": False,
        "--all": False,
        "--revision": True,
    },
    "show values": {"--jsonpath": True},
    "template": {**_OF_VALUES, "-n": True, "--namespace": True},
    "lint": {**_OF_VALUES, "-n": True, "--namespace": True},
}

Values = dict[str, Any]

_printed: dict[tuple[str, ...], subprocess.CompletedProcess[str]] = {}


@dataclass
class Revision:
    """One of a release, with the values that a user gave."""

    number: int
    status: str
    values: Values
    chart: Path
    documents: list[dict[str, Any]]


class Helm:
    """Runs on a cluster. Returns what the real one prints; raises ToolError where it fails."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.releases: dict[tuple[str, str], list[Revision]] = {}  # by namespace and name

    def run(self, arguments: Sequence[str]) -> str:
        command, *rest = arguments
        if command in ("get", "show"):
            command, *rest = f"{command} {rest[0]}", *rest[1:]
        if command not in OPTIONS:
            raise UnknownCallError(f"helm {command}")
        words, given = options(rest, OPTIONS[command])
        if command in ("template", "lint", "show values"):
            return real(*arguments)
        namespace = _last(given, "-n", "--namespace") or "default"
        # A namespace takes its releases with it.
        for key in [key for key in self.releases if key[0] not in self.cluster.namespaces]:
            del self.releases[key]
        key = (namespace, words[0])
        return getattr(self, f"_{command.replace(' ', '_')}")(key, words[1:], given)  # type: ignore[no-any-return]

    def revisions(self, namespace: str = "udp-security") -> list[Revision]:
        """The release's revisions, the oldest first."""
        return self.releases.get((namespace, "udp-security"), [])

    def _history(self, key: tuple[str, str], words: list[str], given: dict[str, list[str]]) -> str:
        entries = [
            {
                "revision": revision.number,
                "updated": "2026-01-02T03:04:05.678901234Z",
                "status": revision.status,
                "chart": revision.chart.stem,
                "app_version": "0.1.0",
                "description": "x",
            }
            for revision in self._found(key)
        ]
        return _as(given, entries)

    def _get_values(
        self, key: tuple[str, str], words: list[str], given: dict[str, list[str]]
    ) -> str:
        revision = self._found(key)[-1]
        values: Values | None = revision.values or None
        if "--all" in given or "-a" in given:
            values = computed(revision.chart, revision.values)
        return _as(given, values)

    def _upgrade(self, key: tuple[str, str], words: list[str], given: dict[str, list[str]]) -> str:
        chart = Path(words[0])
        revisions = self.releases.get(key, [])
        failed = "UPGRADE FAILED" if revisions else "INSTALLATION FAILED"
        if not revisions and "--install" not in given and "-i" not in given:
            raise ToolError(f'Error: UPGRADE FAILED: "{key[1]}" has no deployed releases')
        if revisions and {r.status for r in revisions} <= {"superseded", "uninstalling"}:
            raise ToolError(f'Error: UPGRADE FAILED: "{key[1]}" has no deployed releases')
        if revisions and revisions[-1].status.startswith("pending"):
            raise ToolError(
                f"Error: {failed}: another operation (install/upgrade/rollback) is in progress"
            )
        if key[0] not in self.cluster.namespaces:
            raise ToolError(
                f'Error: {failed}: create: failed to create: namespaces "{key[0]}" not found'
            )
        if key[0] in self.cluster.terminating:
            raise ToolError(f"Error: {failed}: namespace {key[0]} is being terminated")
        values = _given_values(given)
        if revisions:
            old = self._deployed(revisions)
            if "--reset-values" in given:
                pass
            elif "--reuse-values" in given:
                # The old chart's defaults stay in effect as well.
                values = merged(computed(old.chart, old.values), values)
            elif "--reset-then-reuse-values" in given:
                values = merged(old.values, values)
            elif not values:
                values = copy.deepcopy(old.values)
        try:
            documents = rendered(chart, key[0], values)
        except ToolError as error:
            raise ToolError(str(error).replace("Error:", f"Error: {failed}:", 1)) from None
        revision = Revision(len(revisions) + 1, "failed", values, chart, documents)
        self._write(key, revision, given, failed)
        return f'Release "{key[1]}" has been upgraded. Happy Helming!'

    def _rollback(self, key: tuple[str, str], words: list[str], given: dict[str, list[str]]) -> str:
        revisions = self._found(key)
        wanted = int(words[0])
        if wanted not in [revision.number for revision in revisions]:
            raise ToolError("Error: release has no such version")
        target = revisions[wanted - 1]
        revision = replace(target, number=len(revisions) + 1, status="failed")
        self._write(key, revision, given, "ROLLBACK FAILED")
        return "Rollback was a success! Happy Helming!"

    def _uninstall(
        self, key: tuple[str, str], words: list[str], given: dict[str, list[str]]
    ) -> str:
        if key not in self.releases:
            if "--ignore-not-found" in given:
                return ""
            raise ToolError(f"Error: uninstall: Release not loaded: {key[1]}: release: not found")
        revision = self._deployed(self.releases.pop(key))
        self.cluster.delete(_key(document, key[0]) for document in revision.documents)
        return f'release "{key[1]}" uninstalled'

    def _write(
        self,
        key: tuple[str, str],
        revision: Revision,
        given: dict[str, list[str]],
        failed: str,
    ) -> None:
        """Apply objects as a new revision, which has failed unless all goes well."""
        revisions = self.releases.setdefault(key, [])
        first = not revisions
        revisions.append(revision)
        for document in revision.documents:
            there = self.cluster.objects.get(_key(document, key[0]))
            if there is None:
                continue
            what = f"{document['kind']} {document['metadata']['name']!r}"
            if first and not there.helms and "--take-ownership" not in given:
                del self.releases[key]
                raise ToolError(f"Error: {failed}: {what} exists: invalid ownership metadata")
            if there.manager != "helm" and "--force-conflicts" not in given:
                conflict = 'Apply failed with 1 conflict: conflict with "kubectl"'
                raise ToolError(f"Error: {failed}: {what}: {conflict}")
        self.cluster.apply(revision.documents, "helm")
        kept = [_key(document, key[0]) for document in revision.documents]
        before = [_key(document, key[0]) for other in revisions for document in other.documents]
        self.cluster.delete(k for k in before if k not in kept)
        for other in revisions[:-1]:
            if other.status == "deployed" or other.status.startswith("pending"):
                other.status = "superseded"
        revision.status = "deployed"

    def _found(self, key: tuple[str, str]) -> list[Revision]:
        if key not in self.releases:
            raise ToolError("Error: release: not found")
        return self.releases[key]

    def _deployed(self, revisions: list[Revision]) -> Revision:
        return next((r for r in reversed(revisions) if r.status == "deployed"), revisions[-1])


def real(*arguments: str) -> str:
    """What the real Helm prints. Raises ToolError where it fails. Runs once for the same input."""
    given: tuple[str, ...] = ()
    for argument in arguments:
        path = Path(argument)
        given += (argument if not path.is_file() else str(hash(path.read_bytes())),)
    done = _printed.get(given)
    if done is None:
        done = subprocess.run(
            [tool("helm"), *arguments],
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=60,
            env={**os.environ, "KUBECONFIG": os.devnull},
        )
    if done.returncode:
        # Not kept: what it says names the files.
        raise ToolError(done.stderr, done.stdout)
    _printed[given] = done
    return done.stdout


def rendered(chart: Path, namespace: str, values: Values) -> list[dict[str, Any]]:
    """The chart's objects. Raises ToolError."""
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(values, file)
        file.flush()
        text = real("template", "udp-security", str(chart), "-n", namespace, "-f", file.name)
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def computed(chart: Path, values: Values) -> Values:
    """The chart's values with a user's over them; null takes a default away."""
    return _without_null(merged(yaml.safe_load(real("show", "values", str(chart))), values))


def merged(under: Values, over: Values) -> Values:
    """As Helm merges: maps key by key, everything else replaced."""
    result = copy.deepcopy(under)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _without_null(values: Values) -> Values:
    return {
        key: _without_null(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def _given_values(given: dict[str, list[str]]) -> Values:
    values: Values = {}
    for path in given.get("-f", []) + given.get("--values", []):
        try:
            text = Path(path).read_text(encoding="utf-8")
            found = yaml.safe_load(text)
        except (OSError, yaml.YAMLError) as error:
            raise ToolError(f"Error: {error}") from error
        values = merged(values, found or {})
    for setting in given.get("--set", []):
        path, _, text = setting.partition("=")
        if not path.isalpha() or not text.isalpha():
            raise UnknownCallError(f"helm --set {setting}")
        values = merged(values, {path: text})
    return values


def _key(document: dict[str, Any], namespace: str) -> Key:
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", namespace), metadata["name"]


def _last(given: Mapping[str, list[str]], *names: str) -> str:
    found = [value for name in names for value in given.get(name, [])]
    return found[-1] if found else ""


def _as(given: Mapping[str, list[str]], value: object) -> str:
    form = _last(given, "-o", "--output")
    if form == "json":
        return json.dumps(value)
    if form == "yaml":
        return str(yaml.safe_dump(value))
    raise UnknownCallError(f"helm -o {form or 'table'}")
