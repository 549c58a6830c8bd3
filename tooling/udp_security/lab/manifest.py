# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What a kubelet reads from a DaemonSet's pod template, as far as the lab imitates a kubelet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from udp_security.lab.errors import LabError

Manifest = Mapping[str, Any]

_CAPABILITIES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
# What CRI-O and containerd give a container that asks for nothing (CRI-O's narrower list).
_DEFAULT_CAPABILITIES: Final = frozenset(
    (
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "SETGID",
        "SETUID",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "KILL",
    )
)
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class PodFacts:
    """What the downward API can tell a container."""

    uid: str
    name: str
    namespace: str
    node_name: str
    host_ips: tuple[str, ...]


@dataclass(frozen=True)
class Security:
    """The rights a container gets; ``capabilities`` are kernel numbers."""

    uid: int
    gid: int
    capabilities: tuple[int, ...]
    no_new_privileges: bool
    read_only_root: bool


@dataclass(frozen=True)
class VolumeMount:
    """A volume, or one path in it, at a place in the container."""

    volume: str
    target: str
    sub_path: str
    read_only: bool


def daemon_set(documents: Iterable[Manifest | None], container: str) -> Manifest:
    """The one DaemonSet for Linux nodes with a container of this name.

    Raises LabError when there is not exactly one.
    """
    found = [
        document
        for document in documents
        if document
        and document.get("kind") == "DaemonSet"
        and (pod_spec(document).get("nodeSelector") or {}).get("kubernetes.io/os") != "windows"
        and any(c["name"] == container for c in pod_spec(document)["containers"])
    ]
    if len(found) != 1:
        raise LabError(
            f"{len(found)} DaemonSets with a container '{container}' in the manifests, not one"
        )
    return found[0]


def pod_spec(document: Manifest) -> Manifest:
    """The pod's spec in a DaemonSet."""
    return cast(Manifest, document["spec"]["template"]["spec"])


def container_of(document: Manifest, name: str) -> Manifest:
    """The container of this name. LabError where the lab cannot imitate the pod."""
    spec = pod_spec(document)
    if not spec.get("hostNetwork"):
        raise LabError("the agent's pod has no hostNetwork: the lab only runs such pods")
    for key in ("initContainers", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(key):
            raise LabError(f"the lab does not imitate {key}")
    return next(cast(Manifest, c) for c in spec["containers"] if c["name"] == name)


def config_maps(documents: Iterable[Manifest | None]) -> dict[str, dict[str, str]]:
    """The data of every ConfigMap, by name."""
    return {
        document["metadata"]["name"]: dict(document.get("data") or {})
        for document in documents
        if document and document.get("kind") == "ConfigMap"
    }


def environment(container: Manifest, facts: PodFacts) -> dict[str, str]:
    """The container's environment: the runtime's, then `env` in order, $(NAME) replaced."""
    if container.get("envFrom"):
        raise LabError("the lab does not imitate envFrom")
    result = {"PATH": _PATH, "HOSTNAME": facts.node_name, "HOME": "/root"}
    for entry in container.get("env") or ():
        if "valueFrom" in entry:
            result[entry["name"]] = _value_from(entry, facts)
        else:
            result[entry["name"]] = expand(str(entry.get("value") or ""), result)
    return result


def _value_from(entry: Manifest, facts: PodFacts) -> str:
    path = entry["valueFrom"].get("fieldRef", {}).get("fieldPath")
    values = {
        "metadata.uid": facts.uid,
        "metadata.name": facts.name,
        "metadata.namespace": facts.namespace,
        "spec.nodeName": facts.node_name,
        "status.hostIP": facts.host_ips[0],
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": facts.host_ips[0],
        "status.podIPs": ",".join(facts.host_ips),
    }
    if path not in values:
        raise LabError(f"the lab cannot fill env {entry['name']} from {dict(entry['valueFrom'])}")
    return values[path]


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace $(NAME) as Kubernetes does: unknown names stay, $$ is a dollar sign."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return values.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)", one, text)


def security(pod: Manifest, container: Manifest) -> Security:
    """The container's security context on top of the pod's."""
    context = {**(pod.get("securityContext") or {}), **(container.get("securityContext") or {})}
    if context.get("privileged"):
        names = set(_CAPABILITIES)
    else:
        change = context.get("capabilities") or {}
        drop = {str(name).upper() for name in change.get("drop") or ()}
        add = {str(name).upper() for name in change.get("add") or ()}
        names = set() if "ALL" in drop else set(_DEFAULT_CAPABILITIES) - drop
        names |= set(_CAPABILITIES) if "ALL" in add else add
    unknown = names - set(_CAPABILITIES)
    if unknown:
        raise LabError(f"unknown capabilities: {', '.join(sorted(unknown))}")
    uid = int(context.get("runAsUser") or 0)
    if context.get("runAsNonRoot") and uid == 0:
        raise LabError(
            "runAsNonRoot is set, but the image's user is root and runAsUser is not given"
        )
    return Security(
        uid=uid,
        gid=int(context.get("runAsGroup") or 0),
        capabilities=tuple(sorted(_CAPABILITIES.index(name) for name in names)),
        no_new_privileges=context.get("allowPrivilegeEscalation") is False,
        read_only_root=bool(context.get("readOnlyRootFilesystem")),
    )


def volume_mounts(container: Manifest) -> list[VolumeMount]:
    """The container's mounts, in order."""
    return [
        VolumeMount(
            volume=mount["name"],
            target=mount["mountPath"],
            sub_path=mount.get("subPath", ""),
            read_only=bool(mount.get("readOnly")),
        )
        for mount in container.get("volumeMounts") or ()
    ]
