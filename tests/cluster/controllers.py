# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What Kubernetes does by itself in a fake cluster: DaemonSets, kubelets, ends of objects.

They look at the store's own objects, and change them through it alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from tests.cluster.node import FakeNode, Rules
from tests.cluster.store import Object, Store, now

_REVISION = "controller-revision-hash"


class Controllers:
    """All of them; `step` lets each look once."""

    def __init__(self, store: Store, nodes: Mapping[str, FakeNode]) -> None:
        self._store = store
        self._nodes = nodes
        self._began: dict[str, float] = {}
        self._applied: set[str] = set()
        self._shown: dict[str, Object] = {}

    def step(self) -> None:
        """Look at all objects, and do what is due."""
        self._show_nodes()
        for item in self._store.view("daemonsets"):
            self._roll_out(item)
        self._collect()
        for pod in self._store.view("pods"):
            if _is_owned(pod):
                self._kubelet(pod)
        for space in self._store.view("namespaces"):
            self._end_namespace(space)

    def _show_nodes(self) -> None:
        for node in list(self._nodes.values()):
            made = node.object()
            if node.name not in self._shown:
                self._store.create("nodes", "", made)
            elif made != self._shown[node.name]:
                self._store.replace("nodes", "", made)
            self._shown[node.name] = made
        for name in self._shown.keys() - self._nodes.keys():
            self._store.remove("nodes", "", name)
            del self._shown[name]

    def _roll_out(self, item: Object) -> None:
        """As the DaemonSet controller: at most maxSurge (1) new pods that are not ready yet."""
        revision = self._revision(item)
        selector = item["spec"]["template"]["spec"].get("nodeSelector", {})
        wanted = {
            node.name
            for node in self._nodes.values()
            if selector.items() <= {"kubernetes.io/os": node.os, **node.labels}.items()
        }
        old: dict[str, Object] = {}
        new: dict[str, Object] = {}
        for pod in self._pods_of(item):
            if "deletionTimestamp" not in pod["metadata"]:
                kind = new if pod["metadata"]["labels"][_REVISION] == revision else old
                kind[pod["spec"]["nodeName"]] = pod
        surge = 0
        candidates = []
        for node in sorted(wanted):
            if node in old and node in new:
                if _is_ready(new[node]):
                    self._mark(old[node])
                else:
                    surge += 1
            elif node in old and not _is_ready(old[node]):
                self._start(item, node, revision)
            elif node in old:
                candidates.append(node)
            elif node not in new:
                self._start(item, node, revision)
        for node in candidates[: max(0, 1 - surge)]:
            self._start(item, node, revision)
        pods = [*old.values(), *new.values()]
        status = {
            "observedGeneration": item["metadata"]["generation"],
            "desiredNumberScheduled": len(wanted),
            "currentNumberScheduled": len({pod["spec"]["nodeName"] for pod in pods}),
            "updatedNumberScheduled": len(new),
            "numberReady": len({p["spec"]["nodeName"] for p in pods if _is_ready(p)}),
            "numberAvailable": len({p["spec"]["nodeName"] for p in pods if _is_ready(p)}),
            "numberMisscheduled": 0,
        }
        self._set(item, status)

    def _revision(self, item: Object) -> str:
        """The hash of the template, and its ControllerRevision as the newest."""
        template = item["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        metadata = item["metadata"]
        revisions = {
            r["metadata"]["name"]: r
            for r in self._store.view("controllerrevisions", metadata["namespace"])
            if r["metadata"]["ownerReferences"][0]["uid"] == metadata["uid"]
        }
        highest = max((r["revision"] for r in revisions.values()), default=0)
        name = f"{metadata['name']}-{digest}"
        if name not in revisions:
            labels = {**template["metadata"]["labels"], _REVISION: digest}
            revision = {
                "metadata": {
                    "name": name,
                    "labels": labels,
                    "ownerReferences": [_owner(item)],
                },
                "revision": highest + 1,
            }
            self._store.create("controllerrevisions", metadata["namespace"], revision)
        elif revisions[name]["revision"] < highest:
            self._store.change(
                "controllerrevisions",
                metadata["namespace"],
                name,
                lambda old: {**old, "revision": highest + 1},
            )
        return digest

    def _start(self, item: Object, node: str, revision: str) -> None:
        metadata, template = item["metadata"], item["spec"]["template"]
        count = self._store.version
        pod = {
            "metadata": {
                "name": f"{metadata['name']}-{count:05d}",
                "labels": {**template["metadata"]["labels"], _REVISION: revision},
                "annotations": template["metadata"].get("annotations", {}),
                "ownerReferences": [_owner(item)],
            },
            "spec": {**template["spec"], "nodeName": node},
            "status": {"phase": "Pending", "conditions": []},
        }
        self._store.create("pods", metadata["namespace"], pod)

    def _pods_of(self, item: Object) -> list[Object]:
        return [
            pod
            for pod in self._store.view("pods", item["metadata"]["namespace"])
            if _is_owned(pod)
            and pod["metadata"]["ownerReferences"][0]["uid"] == item["metadata"]["uid"]
        ]

    def _collect(self) -> None:
        """What belongs to something that is gone, goes."""
        living = {item["metadata"]["uid"] for item in self._store.view("daemonsets")}
        for kind in ("pods", "controllerrevisions"):
            for item in self._store.view(kind):
                if not _is_owned(item) or item["metadata"]["ownerReferences"][0]["uid"] in living:
                    continue
                if kind == "pods":
                    self._mark(item)
                else:
                    self._store.remove(kind, item["metadata"]["namespace"], _name(item))

    def _mark(self, pod: Object) -> None:
        metadata = pod["metadata"]
        if "deletionTimestamp" not in metadata:
            self._store.change("pods", metadata["namespace"], metadata["name"], mark_deleted)

    def _kubelet(self, pod: Object) -> None:
        """The node's part, and the agent's: apply the policy, or remove it at the end."""
        metadata = pod["metadata"]
        node = self._nodes.get(pod["spec"]["nodeName"])
        if node is None or not node.ready:
            # Nobody hears of it but the node controller.
            if _is_ready(pod):
                self._set(pod, {**pod["status"], "conditions": []})
            return
        uid = metadata["uid"]
        if "deletionTimestamp" in metadata:
            if node.sticky:
                return
            if node.rules and node.rules.owner == uid and environment(pod)["ON_STOP"] == "remove":
                node.rules = None
            self._store.remove("pods", metadata["namespace"], metadata["name"])
            return
        began = self._began.setdefault(uid, time.monotonic())
        # An agent takes the node from another one only once.
        due = node.rules is None or uid not in self._applied
        if due and uid not in node.released and time.monotonic() - began >= node.takes:
            self._apply(pod, node)
        mine = node.rules is not None and node.rules.owner == uid
        ready = [{"type": "Ready", "status": "True"}] if mine else []
        self._set(pod, {**pod["status"], "phase": "Running", "conditions": ready})

    def _apply(self, pod: Object, node: FakeNode) -> None:
        volume = next(v for v in pod["spec"]["volumes"] if "configMap" in v)
        data = self._store.get(
            "configmaps", pod["metadata"]["namespace"], volume["configMap"]["name"]
        )["data"]
        if node.os == "windows":
            mode = json.loads(data["policy.json"])["mode"]
        else:
            mode = "audit" if "\nmode audit\n" in data["policy.facts"] else "enforce"
        if mode == "enforce" and node.refuses:
            return
        self._applied.add(pod["metadata"]["uid"])
        generation = environment(pod)["POLICY_SHA256"][:12]
        node.rules = Rules(pod["metadata"]["uid"], mode, generation)

    def _set(self, item: Object, status: dict[str, Any]) -> None:
        if item.get("status") == status:
            return
        kind = {"Pod": "pods", "DaemonSet": "daemonsets"}[item["kind"]]
        self._store.change(
            kind, item["metadata"]["namespace"], _name(item), lambda o: {**o, "status": status}
        )

    def _end_namespace(self, space: Object) -> None:
        if "deletionTimestamp" not in space["metadata"]:
            return
        name = _name(space)
        left = 0
        for kind in ("daemonsets", "configmaps", "secrets", "services", "controllerrevisions"):
            for item in self._store.view(kind, name):
                self._store.remove(kind, name, _name(item))
        for pod in self._store.view("pods", name):
            self._mark(pod)
            left += 1
        if not left:
            self._store.remove("namespaces", "", name)


def mark_deleted(item: Object) -> Object:
    """The object, as one whose end has begun."""
    return {**item, "metadata": {**item["metadata"], "deletionTimestamp": now()}}


def environment(pod: Object) -> dict[str, str]:
    """The agent's environment, without the names' common prefix."""
    entries = pod["spec"]["containers"][0]["env"]
    return {e["name"].removeprefix("UDP_SECURITY_"): e.get("value", "") for e in entries}


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


def _owner(item: Object) -> dict[str, str]:
    metadata = item["metadata"]
    return {"kind": item["kind"], "name": metadata["name"], "uid": metadata["uid"]}


def _is_owned(item: Object) -> bool:
    """Whether it belongs to a DaemonSet. Other pods are what a test says, and nobody runs them."""
    return "ownerReferences" in item["metadata"]


def _is_ready(pod: Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
