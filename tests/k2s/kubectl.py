# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A fake kubectl: what the real one prints and returns, from the model of a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from tests.k2s.cluster import NAMESPACE, Cluster, Node, Pod
from tests.k2s.native import ToolError, UnknownCallError, options

#: The options of each command that the fake knows, and whether they take a value.
OPTIONS: Final[Mapping[str, Mapping[str, bool]]] = {
    "apply": {"-f": True, "--filename": True, "--server-side": False, "--force-conflicts": False},
    "delete": {
        "-n": True,
        "--namespace": True,
        "-l": True,
        "--ignore-not-found": False,
        "--timeout": True,
        "--force": False,
        "--grace-period": True,
        "--wait": False,
    },
    "exec": {
        "-n": True,
        "--namespace": True,
        "-c": True,
        "--request-timeout": True,
        "--pod-running-timeout": True,
    },
    "get": {
        "-n": True,
        "--namespace": True,
        "-l": True,
        "--selector": True,
        "-o": True,
        "--output": True,
        "--ignore-not-found": False,
        "--request-timeout": True,
    },
    "rollout": {"-n": True, "--namespace": True, "--timeout": True},
    "wait": {"-n": True, "--namespace": True, "-l": True, "--for": True, "--timeout": True},
}
_KINDS: Final = {
    "no": "node", "node": "node", "nodes": "node",
    "ns": "namespace", "namespace": "namespace", "namespaces": "namespace",
    "po": "pod", "pod": "pod", "pods": "pod",
    "ds": "daemonset", "daemonset": "daemonset", "daemonsets": "daemonset",
    "svc": "service", "service": "service", "services": "service",
    "servicecidr": "servicecidr", "servicecidrs": "servicecidr",
}  # fmt: skip
_DNS_SERVICE: Final = {
    "kind": "Service",
    "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {}},
    "spec": {"clusterIP": "172.21.0.10", "ports": [{"port": 53, "protocol": "UDP"}]},
}
_EXITED: Final = "command terminated with exit code 1"


class Kubectl:
    """Runs on a cluster. Returns what the real one prints; raises ToolError where it fails."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def run(self, arguments: Sequence[str]) -> str:
        command, *rest = arguments
        if command not in OPTIONS:
            raise UnknownCallError(f"kubectl {command}")
        inside: list[str] = []
        if "--" in rest:
            at = rest.index("--")
            rest, inside = rest[:at], rest[at + 1 :]
        words, given = options(rest, OPTIONS[command])
        if command == "exec":
            return self._exec(words, inside)
        run: Callable[[list[str], dict[str, list[str]]], str] = getattr(self, f"_{command}")
        return run(words, given)

    def _get(self, words: list[str], given: dict[str, list[str]]) -> str:
        kind, names = self._what(words)
        everything = self._list(kind, _namespace(given))
        labels = _selector(given)
        found = [
            document
            for document in everything
            if (not names or document["metadata"]["name"] in names)
            and labels.items() <= document["metadata"].get("labels", {}).items()
        ]
        missing = [n for n in names if n not in [d["metadata"]["name"] for d in found]]
        if missing and "--ignore-not-found" not in given:
            raise ToolError(f'Error from server (NotFound): {kind}s "{missing[0]}" not found')
        form = _last(given, "-o", "--output")
        whole: dict[str, Any] = {"apiVersion": "v1", "items": found, "kind": "List", "metadata": {}}
        if names:
            whole = found[0] if found else {}
        if form == "json":
            return json.dumps(whole, indent=4) if whole else ""
        if form == "name":
            return "\n".join(f"{kind}/{document['metadata']['name']}" for document in found)
        if form:
            raise UnknownCallError(f"kubectl get -o {form}")
        rows = "\n".join(f"{document['metadata']['name']}   Active   1m" for document in found)
        return f"NAME   STATUS   AGE\n{rows}" if found else ""

    def _apply(self, words: list[str], given: dict[str, list[str]]) -> str:
        said = []
        for path in given.get("-f", []) + given.get("--filename", []):
            if Path(path).is_dir():
                raise UnknownCallError("kubectl apply on a folder")
            for document in yaml.safe_load_all(Path(path).read_text(encoding="utf-8")):
                name = document["metadata"]["name"]
                if name in self.cluster.terminating or (
                    document["metadata"].get("namespace") in self.cluster.terminating
                ):
                    raise ToolError(f'Error from server (Forbidden): "{name}" is being terminated')
                self.cluster.apply([document], "kubectl")
                said.append(f"{document['kind'].lower()}/{name} configured")
        return "\n".join(said)

    def _delete(self, words: list[str], given: dict[str, list[str]]) -> str:
        kind, names = self._what(words)
        if kind == "pod":
            gone = [pod for pod in self.cluster.pods if pod.name in names]
            if "--force" in given:
                self.cluster.drop(pod.name for pod in gone)
            else:
                self.cluster.end(gone)
                self.cluster.wait(lambda: not any(p in self.cluster.pods for p in gone), 30)
            return "\n".join(f'pod "{pod.name}" deleted' for pod in gone)
        if kind == "daemonset" and not names:
            sets = [d["metadata"] for d in self._list(kind, _namespace(given))]
            chosen = [m for m in sets if _selector(given).items() <= m["labels"].items()]
            self.cluster.delete(("DaemonSet", m["namespace"], m["name"]) for m in chosen)
            return "\n".join(f'daemonset.apps "{m["name"]}" deleted' for m in chosen)
        if kind != "namespace":
            raise UnknownCallError(f"kubectl delete {kind}")
        (name,) = names
        if name not in self.cluster.namespaces:
            if "--ignore-not-found" in given:
                return ""
            raise ToolError(f'Error from server (NotFound): namespaces "{name}" not found')
        if not self.cluster.delete_namespace(name):
            raise ToolError(f"error: timed out waiting for the condition on namespaces/{name}")
        return f'namespace "{name}" deleted'

    def _rollout(self, words: list[str], given: dict[str, list[str]]) -> str:
        if words[0] != "status":
            raise UnknownCallError(f"kubectl rollout {words[0]}")
        _, (name,) = self._what(words[1:])
        found = [d for d in self.cluster.sets() if d["metadata"]["name"] == name]
        if not found:
            raise ToolError(f'Error from server (NotFound): daemonsets.apps "{name}" not found')
        seconds = _seconds(given)
        if not self.cluster.wait(lambda: self.cluster.rolled_out(found[0]), seconds):
            waiting = f'Waiting for daemon set "{name}" rollout to finish: 0 of 1 are available...'
            raise ToolError("error: timed out waiting for the condition", waiting)
        return f'daemon set "{name}" successfully rolled out'

    def _wait(self, words: list[str], given: dict[str, list[str]]) -> str:
        kind, _ = self._what(words)
        if kind != "pod":
            raise UnknownCallError(f"kubectl wait {kind}")
        labels = _selector(given)
        pods = [p for p in self.cluster.pods if labels.items() <= p.labels.items()]
        if not pods:
            if _last(given, "--for") == "delete":
                return ""
            raise ToolError("error: no matching resources found")
        done: Callable[[], bool] = lambda: all(pod.ready for pod in pods)  # noqa: E731
        if _last(given, "--for") == "delete":
            done = lambda: not any(pod in self.cluster.pods for pod in pods)  # noqa: E731
        if not self.cluster.wait(done, _seconds(given)):
            raise ToolError(f"error: timed out waiting for the condition on pods/{pods[0].name}")
        return "\n".join(f"pod/{pod.name} condition met" for pod in pods)

    def _exec(self, words: list[str], command: list[str]) -> str:
        (name,) = [word.removeprefix("pod/") for word in words]
        pod = next((pod for pod in self.cluster.pods if pod.name == name), None)
        if pod is None:
            raise ToolError(f'Error from server (NotFound): pods "{name}" not found')
        if not pod.node.ready or pod.node.silent:
            raise ToolError("Error from server: error dialing backend: dial tcp: i/o timeout")
        if command[0] == "nslookup":
            return self._nslookup(pod.node, command)
        if [_program(word) for word in command[:-1]] != [_program(w) for w in pod.probe[:-1]]:
            raise UnknownCallError(f"kubectl exec -- {' '.join(command)}")
        return getattr(self, f"_agent_{command[-1].lower()}")(pod)  # type: ignore[no-any-return]

    def _agent_check(self, pod: Pod) -> str:
        if pod.node.rules != pod.policy:
            reason = pod.node.refuses or "another policy is in force"
            raise ToolError(_EXITED, f"not in force: {reason}")
        return f"in force: policy {pod.policy.generation}, mode {pod.policy.mode}"

    def _agent_status(self, pod: Pod) -> str:
        node = pod.node
        healthy = node.rules == pod.policy
        denied = {"ingress": {"packets": node.denied, "bytes": 60 * node.denied}}
        status: dict[str, Any] = {
            "schemaVersion": 1,
            "os": node.os,
            "backend": "nftables" if node.os == "linux" else "windows-firewall",
            "backendReason": None,
            "node": node.name,
            "version": "0.1.0",
            "generation": pod.policy.generation,
            "owner": f"uid-{pod.name}" if healthy else None,
            "self": f"uid-{pod.name}",
            "mode": pod.policy.mode,
            "denyAction": "drop",
            "scope": "host" if node.os == "linux" else "cluster",
            "healthy": healthy,
            "reason": None if healthy else node.refuses or "another policy is in force",
            "appliedAt": "2026-01-02T03:04:05Z" if healthy else None,
            "applySeconds": 0.25 if healthy else None,
            "heals": 0,
            "notGoverned": [],
            "cache": {"trusted": True} if node.os == "linux" else None,
            "counters": {"rules": [], "denied": denied if node.os == "linux" else {}},
            "deniedFlows": [] if node.os == "linux" else None,
            "deniedPorts": [] if node.os == "linux" else None,
        }
        return json.dumps(status)

    def _agent_remove(self, pod: Pod) -> str:
        if pod.node.stubborn:
            raise ToolError(_EXITED, "not removed: Device or resource busy")
        pod.node.put_in_force(None)
        pod.released = True
        return "removed"

    def _nslookup(self, node: Node, command: list[str]) -> str:
        if not self.cluster.dns_answers(node):
            raise ToolError(_EXITED, ";; connection timed out; no servers could be reached")
        return f"Server:\t\t{command[-1]}\n\nName:\t{command[-2]}\nAddress: 172.21.0.1"

    def _what(self, words: list[str]) -> tuple[str, list[str]]:
        """Kind and names, also of the form kind/name."""
        if "/" in words[0]:
            kind, name = words[0].split("/")
            words = [kind, name, *(word.partition("/")[2] for word in words[1:])]
        if words[0].split(".")[0] not in _KINDS:
            raise UnknownCallError(f"kubectl on {words[0]}")
        return _KINDS[words[0].split(".")[0]], words[1:]

    def _list(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        cluster = self.cluster
        if kind == "node":
            return [_node(node) for node in cluster.nodes]
        if kind == "namespace":
            return [
                {
                    "kind": "Namespace",
                    "metadata": {"name": name, "labels": labels},
                    "status": {"phase": "Terminating" if name in cluster.terminating else "Active"},
                }
                for name, labels in cluster.namespaces.items()
            ]
        if kind == "servicecidr":
            return [{"metadata": {"name": "kubernetes"}, "spec": {"cidrs": cluster.service_cidrs}}]
        if kind == "service":
            return [_DNS_SERVICE] if namespace == "kube-system" else []
        if namespace != NAMESPACE:
            return []
        if kind == "pod":
            return [_pod(pod) for pod in cluster.pods]
        return [self._daemonset(document) for document in cluster.sets()]

    def _daemonset(self, document: dict[str, Any]) -> dict[str, Any]:
        name = document["metadata"]["name"]
        document = {**document, "metadata": {**document["metadata"], "generation": 1}}
        if self.cluster.is_late(name):
            return {**document, "status": {}}
        system = document["spec"]["template"]["spec"]["nodeSelector"]["kubernetes.io/os"]
        desired = [node for node in self.cluster.nodes if node.os == system]
        mine = [pod for pod in self.cluster.pods if pod.owner == name]
        status = {
            "observedGeneration": 1,
            "desiredNumberScheduled": len(desired),
            "currentNumberScheduled": len({pod.node.name for pod in mine}),
            "numberReady": len({pod.node.name for pod in mine if pod.ready}),
            "numberMisscheduled": 0,
        }
        return {**document, "status": status}


def _node(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node.name,
            "labels": {"kubernetes.io/os": node.os, "Rack": "a", "rack": "A"},
            # Nothing forbids keys that differ only in case.
            "annotations": {"example.com/Owner": "a", "example.com/owner": '{"b": "c"}'},
        },
        "spec": {"podCIDR": node.pod_cidr, "podCIDRs": [node.pod_cidr]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": node.address},
                {"type": "Hostname", "address": node.name},
            ],
            "conditions": [
                {"type": "MemoryPressure", "status": "False" if node.ready else "Unknown"},
                {"type": "Ready", "status": "True" if node.ready else "Unknown"},
            ],
        },
    }


def _pod(pod: Pod) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": pod.name, "namespace": NAMESPACE, "labels": pod.labels}
    if pod.deleted is not None:
        metadata["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"nodeName": pod.node.name},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True" if pod.ready else "False"}],
        },
    }


def _program(word: str) -> str:
    return word.removeprefix("/bin/")


def _last(given: Mapping[str, list[str]], *names: str) -> str:
    found = [value for name in names for value in given.get(name, [])]
    return found[-1] if found else ""


def _namespace(given: Mapping[str, list[str]]) -> str:
    return _last(given, "-n", "--namespace") or "default"


def _selector(given: Mapping[str, list[str]]) -> dict[str, str]:
    text = _last(given, "-l", "--selector")
    return dict(part.replace("==", "=").split("=", 1) for part in text.split(",") if part)


def _seconds(given: Mapping[str, list[str]]) -> float:
    text = _last(given, "--timeout") or "600s"
    if not text.endswith("s"):
        raise UnknownCallError(f"kubectl --timeout={text}")
    return float(text.removesuffix("s"))
