# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The objects that the chart makes: what the agents' pods may do, and what they get."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from .conftest import Render
from .support import SYSTEMS, Helm, Rendered, rule


@pytest.fixture(scope="module", params=SYSTEMS)
def os(request: pytest.FixtureRequest) -> str:
    """Each operating system."""
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def default(render: Render, os: str) -> Rendered:
    """The chart without any values, for each operating system."""
    return render(os=os)


@pytest.fixture(scope="module")
def linux(render: Render) -> Rendered:
    """The chart without any values, for Linux."""
    return render()


@pytest.fixture(scope="module")
def windows(render: Render) -> Rendered:
    """The chart without any values, for Windows."""
    return render(os="windows")


def labels(os: str, name: str = "udp-security") -> dict[str, str]:
    """What selects a system's pods."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/instance": "udp-security",
        "app.kubernetes.io/component": os,
    }


def test_there_are_two_objects_and_nothing_for_the_api_server(default: Rendered, os: str) -> None:
    assert default.others == []
    for found in (default.config_map, default.daemon_set):
        assert found["metadata"]["name"] == f"udp-security-{os}"
        assert found["metadata"]["namespace"] == "udp-security"


def test_labels_and_selector(default: Rendered, os: str) -> None:
    spec = default.daemon_set["spec"]
    # K2s finds the addon's pods by app.kubernetes.io/name; the component keeps the systems apart.
    assert spec["selector"] == {"matchLabels": labels(os)}
    for metadata in (
        default.config_map["metadata"],
        default.daemon_set["metadata"],
        spec["template"]["metadata"],
    ):
        assert metadata["labels"].items() >= labels(os).items()
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert metadata["labels"]["helm.sh/chart"].startswith("udp-security-")


def test_a_rollout_leaves_no_node_without_an_agent(default: Rendered) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert default.daemon_set["spec"]["updateStrategy"] == strategy
    # Two pods of a rollout on one host's network could not both have a port.
    assert "ports" not in default.container


def test_the_pod_is_the_nodes_and_knows_no_api_server(default: Rendered, os: str) -> None:
    pod = default.pod
    assert pod["hostNetwork"] is True
    assert pod["dnsPolicy"] == "Default"
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["nodeSelector"] == {"kubernetes.io/os": os}
    for key in (
        "serviceAccountName",
        "hostPID",
        "hostIPC",
        "shareProcessNamespace",
        "initContainers",
    ):
        assert key not in pod
    for key in ("args", "livenessProbe", "startupProbe"):
        assert key not in default.container


LOCK = "/run/xtables.lock"


@pytest.mark.parametrize(
    ("backend", "capabilities", "files_of_the_node"),
    [
        ("nftables", ["NET_ADMIN"], []),
        # iptables-legacy reads tables through a raw socket, and changes them under a lock.
        ("iptables", ["NET_ADMIN", "NET_RAW"], [{"path": LOCK, "type": "FileOrCreate"}]),
        ("auto", ["NET_ADMIN", "NET_RAW"], [{"path": LOCK, "type": "FileOrCreate"}]),
    ],
)
def test_the_linux_container_can_do_what_its_backend_needs_and_no_more(
    render: Render, backend: str, capabilities: list[str], files_of_the_node: list[dict[str, str]]
) -> None:
    linux = render({"linux": {"backend": backend}})
    assert linux.pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert linux.container["securityContext"] == {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": capabilities},
    }
    volumes = [volume["hostPath"] for volume in linux.pod["volumes"] if "hostPath" in volume]
    assert volumes == files_of_the_node
    paths = [mount["mountPath"] for mount in linux.container["volumeMounts"]]
    assert (LOCK in paths) is bool(files_of_the_node)
    assert "os" not in linux.pod


def test_the_windows_pod_is_a_process_of_the_host(windows: Rendered) -> None:
    # The API server refuses whatever only Linux has, in a pod that says so.
    assert windows.pod["os"] == {"name": "windows"}
    options = {"hostProcess": True, "runAsUserName": "NT AUTHORITY\\SYSTEM"}
    assert windows.pod["securityContext"] == {"windowsOptions": options}
    assert "securityContext" not in windows.container


def test_linux_resources_bound_memory_and_not_cpu(linux: Rendered) -> None:
    resources = linux.container["resources"]
    assert resources["limits"].keys() == {"memory"}
    number, unit = resources["limits"]["memory"][:-2], resources["limits"]["memory"][-2:]
    assert unit == "Mi" and int(number) >= 64


def test_windows_resources_have_no_bounds(windows: Rendered) -> None:
    requests = {"cpu": "10m", "memory": "100Mi"}
    assert windows.container["resources"] == {"requests": requests}


def test_the_linux_container_runs_the_agent(linux: Rendered) -> None:
    container = linux.container
    assert container["name"] == "agent"
    assert container["image"] == "docker.io/flannel/flannel:0.28.9"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["command"] == ["/bin/sh", "/etc/udp-security/agent.sh", "run"]
    assert container["readinessProbe"] == {
        "exec": {"command": ["/bin/sh", "/etc/udp-security/agent.sh", "check"]},
        "periodSeconds": 10,
        "timeoutSeconds": 10,
        "failureThreshold": 1,
    }
    # The shell gets SIGTERM itself.
    assert "lifecycle" not in container


POWERSHELL = [
    "powershell.exe", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass",
    "-File", r"%CONTAINER_SANDBOX_MOUNT_POINT%\udp-security\config\Agent.ps1",
]  # fmt: skip


def test_the_windows_container_runs_the_agent(windows: Rendered) -> None:
    container = windows.container
    assert container["name"] == "agent"
    assert container["image"] == "shsk2s.azurecr.io/pause-win:v1.8.0"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["command"] == [*POWERSHELL, "-Command", "Run"]
    assert container["readinessProbe"] == {
        "exec": {"command": [*POWERSHELL, "-Command", "Check"]},
        "periodSeconds": 60,
        "timeoutSeconds": 30,
        "failureThreshold": 1,
    }
    # A signal does not reach PowerShell. The agent itself knows what to do by onStop.
    stop = {"exec": {"command": [*POWERSHELL, "-Command", "Remove", "-Stopping"]}}
    assert container["lifecycle"] == {"preStop": stop}
    assert windows.pod["terminationGracePeriodSeconds"] == 60


@pytest.mark.parametrize(
    ("os", "config", "state"),
    [
        ("linux", "/etc/udp-security", "/run/udp-security"),
        ("windows", "/udp-security/config", "/udp-security/state"),
    ],
)
def test_the_container_sees_its_policy_and_its_state(
    render: Render, os: str, config: str, state: str
) -> None:
    rendered = render(os=os)
    assert rendered.container["volumeMounts"][:2] == [
        {"name": "config", "mountPath": config, "readOnly": True},
        {"name": "state", "mountPath": state},
    ]
    files, scratch = rendered.pod["volumes"][:2]
    assert files == {"name": "config", "configMap": {"name": f"udp-security-{os}"}}
    assert scratch == {"name": "state", "emptyDir": {"sizeLimit": "32Mi"}}


@pytest.mark.parametrize(("os", "seconds"), [("linux", "30"), ("windows", "60")])
def test_the_environment(render: Render, os: str, seconds: str) -> None:
    rendered = render(os=os)
    fields = {
        item["name"]: item["valueFrom"]["fieldRef"]["fieldPath"]
        for item in rendered.container["env"]
        if "valueFrom" in item
    }
    assert fields == {
        "UDP_SECURITY_POD_UID": "metadata.uid",
        "UDP_SECURITY_NODE_NAME": "spec.nodeName",
        "UDP_SECURITY_NODE_IP": "status.hostIP",
    }
    assert rendered.environment == {
        "UDP_SECURITY_POLICY_SHA256": hash_of(rendered),
        "UDP_SECURITY_RELEASE": "udp-security/udp-security",
        "UDP_SECURITY_ON_STOP": "remove",
        "UDP_SECURITY_POLL_SECONDS": seconds,
    }


def hash_of(rendered: Rendered) -> str:
    """The policy's hash, of the files as a pod will see them, in the order of their names."""
    files = rendered.files
    return hashlib.sha256("".join(files[name] for name in sorted(files)).encode()).hexdigest()


@pytest.mark.parametrize(
    "values",
    [
        {"rules": [rule(from_=["10.0.0.0/8", "fd00::/8"])]},
        {"linux": {"scope": "cluster"}, "windows": {"scope": "host"}},
        {"presets": {"ntp": False}},
        {"mode": "audit"},
    ],
    ids=str,
)
def test_the_pod_carries_its_policys_hash(
    helm: Helm, helm3: Helm, default: Rendered, os: str, values: dict[str, Any]
) -> None:
    rendered = Rendered(helm.template(values), os)
    wanted = rendered.environment["UDP_SECURITY_POLICY_SHA256"]
    assert wanted == hash_of(rendered)
    # The hash stands in the pod template, so that another policy is another pod.
    assert wanted != default.environment["UDP_SECURITY_POLICY_SHA256"]
    assert checksum(rendered) != checksum(default)
    by_helm3 = Rendered(helm3.template(values), os)
    assert by_helm3.environment["UDP_SECURITY_POLICY_SHA256"] == wanted


def test_what_is_no_policy_makes_no_other_pod(helm: Helm, default: Rendered, os: str) -> None:
    described = [rule("a", description="one"), rule("a", description="two")]
    one, two = (helm.template({"rules": [given]}) for given in described)
    assert Rendered(one, os).daemon_set == Rendered(two, os).daemon_set != default.daemon_set
    (other,) = (system for system in SYSTEMS if system != os)
    elsewhere = Rendered(helm.template({"rules": [rule(os=[other])]}), os)
    assert elsewhere.daemon_set == default.daemon_set


def checksum(rendered: Rendered) -> str:
    """What makes a pod of another ConfigMap another pod."""
    annotations = rendered.daemon_set["spec"]["template"]["metadata"]["annotations"]
    return str(annotations["checksum/config"])


def test_settings_reach_the_pod(render: Render, os: str) -> None:
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"x": 1}}}
    values = {
        "imagePullSecrets": [{"name": "one"}, {"name": "two"}],
        os: {
            "onStop": "keep",
            "pollSeconds": 7,
            "image": {
                "repository": "registry.local:5000/x",
                "tag": "1.0",
                "pullPolicy": "Never",
            },
            "resources": {"limits": {"memory": "1Gi"}, "requests": None},
            "nodeSelector": {"role": "edge"},
            "tolerations": [{"key": "a", "effect": "NoExecute"}],
            "affinity": affinity,
            "priorityClassName": "1",
            "podAnnotations": {"x.y/z": "1"},
            "podLabels": {"team": "yes"},
        },
    }
    rendered = render(values, os=os)
    pod, container = rendered.pod, rendered.container
    assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert rendered.environment["UDP_SECURITY_ON_STOP"] == "keep"
    assert rendered.environment["UDP_SECURITY_POLL_SECONDS"] == "7"
    assert container["image"] == "registry.local:5000/x:1.0"
    assert container["imagePullPolicy"] == "Never"
    assert container["resources"] == {"limits": {"memory": "1Gi"}}
    assert pod["nodeSelector"] == {"kubernetes.io/os": os, "role": "edge"}
    assert pod["tolerations"] == [{"key": "a", "effect": "NoExecute"}]
    assert pod["affinity"] == affinity
    assert pod["priorityClassName"] == "1"
    metadata = rendered.daemon_set["spec"]["template"]["metadata"]
    assert metadata["annotations"]["x.y/z"] == "1"
    assert metadata["labels"].items() >= {**labels(os), "team": "yes"}.items()


def test_a_system_cannot_be_given_the_others_nodes(render: Render, os: str) -> None:
    selected = render({os: {"nodeSelector": {"kubernetes.io/os": "other"}}}, os=os)
    assert selected.pod["nodeSelector"] == {"kubernetes.io/os": os}


def test_empty_settings_leave_no_empty_keys(render: Render, os: str) -> None:
    empty: dict[str, Any] = {"tolerations": [], "priorityClassName": "", "resources": None}
    pod = render({os: empty}, os=os).pod
    assert not {"tolerations", "priorityClassName", "affinity", "imagePullSecrets"} & pod.keys()
    assert "resources" not in pod["containers"][0]


def test_name_override(render: Render, os: str) -> None:
    rendered = render({"nameOverride": "fence"}, os=os)
    for found in (rendered.config_map, rendered.daemon_set):
        assert found["metadata"]["name"] == f"fence-{os}"
        assert found["metadata"]["labels"]["app.kubernetes.io/name"] == "fence"
    selector = rendered.daemon_set["spec"]["selector"]["matchLabels"]
    assert selector == labels(os, "fence")
    assert rendered.pod["volumes"][0]["configMap"] == {"name": f"fence-{os}"}


def test_names_that_look_like_numbers_stay_names(render: Render, os: str) -> None:
    rendered = render({"nameOverride": "1"}, os=os, release="2", namespace="3")
    found = rendered.daemon_set["spec"]["template"]["metadata"]["labels"]
    assert found["app.kubernetes.io/name"] == "1"
    assert found["app.kubernetes.io/instance"] == "2"
    assert rendered.daemon_set["metadata"]["namespace"] == "3"


def test_only_governed_nodes_get_objects(helm: Helm, os: str) -> None:
    (other,) = (system for system in SYSTEMS if system != os)
    text = helm.template({other: {"enabled": False}})
    assert f"component: {other}" not in text
    assert Rendered(text, os).others == []


def test_nothing_is_rendered_where_nothing_is_governed(either_helm: Helm) -> None:
    off = {os: {"enabled": False} for os in SYSTEMS}
    assert either_helm.template(off).strip() == ""
