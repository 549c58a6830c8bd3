# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The objects that the chart makes: what the agent's pods may do, and what they get."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from .conftest import Render
from .support import Helm, Rendered, rule

LABELS = {
    "app.kubernetes.io/name": "udp-security",
    "app.kubernetes.io/instance": "udp-security",
    "app.kubernetes.io/component": "linux",
}


@pytest.fixture(scope="module")
def default(render: Render) -> Rendered:
    """The chart without any values."""
    return render()


def test_there_are_two_objects_and_nothing_for_the_api_server(default: Rendered) -> None:
    assert default.others == {}
    for found in (default.config_map, default.daemon_set):
        assert found["metadata"]["name"] == "udp-security-linux"
        assert found["metadata"]["namespace"] == "udp-security"


def test_labels_and_selector(default: Rendered) -> None:
    spec = default.daemon_set["spec"]
    # K2s finds the addon's pods by app.kubernetes.io/name; the component keeps Windows' apart.
    assert spec["selector"] == {"matchLabels": LABELS}
    for metadata in (
        default.config_map["metadata"],
        default.daemon_set["metadata"],
        spec["template"]["metadata"],
    ):
        assert metadata["labels"].items() >= LABELS.items()
        assert metadata["labels"]["app.kubernetes.io/managed-by"] == "Helm"
        assert metadata["labels"]["helm.sh/chart"].startswith("udp-security-")


def test_a_rollout_leaves_no_node_without_an_agent(default: Rendered) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert default.daemon_set["spec"]["updateStrategy"] == strategy
    # Two pods of a rollout on one host's network could not both have a port.
    assert "ports" not in default.container


def test_the_pod_is_the_nodes_and_knows_no_api_server(default: Rendered) -> None:
    pod = default.pod
    assert pod["hostNetwork"] is True
    assert pod["dnsPolicy"] == "Default"
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux"}
    for key in (
        "serviceAccountName",
        "hostPID",
        "hostIPC",
        "shareProcessNamespace",
        "initContainers",
    ):
        assert key not in pod


def test_the_container_has_one_capability_and_no_way_to_more(default: Rendered) -> None:
    assert default.pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert default.container["securityContext"] == {
        "runAsUser": 0,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
    }


def test_resources_bound_memory_and_not_cpu(default: Rendered) -> None:
    resources = default.container["resources"]
    assert resources["limits"].keys() == {"memory"}
    number, unit = resources["limits"]["memory"][:-2], resources["limits"]["memory"][-2:]
    assert unit == "Mi" and int(number) >= 64


def test_the_container_runs_the_agent(default: Rendered) -> None:
    container = default.container
    assert container["name"] == "agent"
    assert container["image"] == "docker.io/flannel/flannel:0.28.9"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["command"] == ["/bin/sh", "/etc/udp-security/agent.sh", "run"]
    assert "args" not in container
    assert container["readinessProbe"]["exec"] == {
        "command": ["/bin/sh", "/etc/udp-security/agent.sh", "check"]
    }
    assert "livenessProbe" not in container


def test_the_container_sees_its_policy_and_its_state(default: Rendered) -> None:
    assert default.container["volumeMounts"] == [
        {"name": "config", "mountPath": "/etc/udp-security", "readOnly": True},
        {"name": "state", "mountPath": "/run/udp-security"},
    ]
    config, state = default.pod["volumes"]
    assert config == {"name": "config", "configMap": {"name": "udp-security-linux"}}
    assert state["name"] == "state" and set(state) == {"name", "emptyDir"}
    assert default.config_map["data"].keys() == {"agent.sh", "policy.nft", "policy.facts"}


def test_the_environment(default: Rendered) -> None:
    fields = {
        item["name"]: item["valueFrom"]["fieldRef"]["fieldPath"]
        for item in default.container["env"]
        if "valueFrom" in item
    }
    assert fields == {
        "UDP_SECURITY_POD_UID": "metadata.uid",
        "UDP_SECURITY_NODE_NAME": "spec.nodeName",
        "UDP_SECURITY_NODE_IP": "status.hostIP",
    }
    assert default.environment == {
        "UDP_SECURITY_POLICY_SHA256": hash_of(default),
        "UDP_SECURITY_RELEASE": "udp-security/udp-security",
        "UDP_SECURITY_ON_STOP": "remove",
        "UDP_SECURITY_POLL_SECONDS": "30",
    }


def hash_of(rendered: Rendered) -> str:
    """The policy's hash, of the files as a pod will see them."""
    agent = rendered.config_map["data"]["agent.sh"]
    return hashlib.sha256((agent + rendered.ruleset + rendered.facts).encode()).hexdigest()


@pytest.mark.parametrize(
    "values",
    [
        {"rules": [rule(from_=["10.0.0.0/8", "fd00::/8"])]},
        {"linux": {"scope": "cluster", "untrackedReplyAddresses": ["169.254.20.10"]}},
        {"presets": {"ntp": False}},
        {"mode": "audit"},
    ],
    ids=str,
)
def test_the_pod_carries_its_policys_hash(
    helm: Helm, helm3: Helm, default: Rendered, values: dict[str, Any]
) -> None:
    rendered = Rendered(helm.template(values))
    wanted = rendered.environment["UDP_SECURITY_POLICY_SHA256"]
    assert wanted == hash_of(rendered)
    # The hash stands in the pod template, so that another policy is another pod.
    assert wanted != default.environment["UDP_SECURITY_POLICY_SHA256"]
    assert checksum(rendered) != checksum(default)
    assert Rendered(helm3.template(values)).environment["UDP_SECURITY_POLICY_SHA256"] == wanted


def test_what_is_no_policy_makes_no_other_pod(render: Render, default: Rendered) -> None:
    described = [rule("a", description="one"), rule("a", description="two")]
    one, two = (render({"rules": [given]}) for given in described)
    assert one.daemon_set == two.daemon_set
    windows = render({"rules": [rule(os=["windows"])]})
    assert windows.daemon_set == default.daemon_set


def checksum(rendered: Rendered) -> str:
    """What makes a pod of another ConfigMap another pod."""
    annotations = rendered.daemon_set["spec"]["template"]["metadata"]["annotations"]
    return str(annotations["checksum/config"])


def test_settings_reach_the_pod(render: Render) -> None:
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"x": 1}}}
    rendered = render(
        {
            "imagePullSecrets": [{"name": "one"}, {"name": "two"}],
            "linux": {
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
    )
    pod, container = rendered.pod, rendered.container
    assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert rendered.environment["UDP_SECURITY_ON_STOP"] == "keep"
    assert rendered.environment["UDP_SECURITY_POLL_SECONDS"] == "7"
    assert container["image"] == "registry.local:5000/x:1.0"
    assert container["imagePullPolicy"] == "Never"
    assert container["resources"] == {"limits": {"memory": "1Gi"}}
    assert pod["nodeSelector"] == {"kubernetes.io/os": "linux", "role": "edge"}
    assert pod["tolerations"] == [{"key": "a", "effect": "NoExecute"}]
    assert pod["affinity"] == affinity
    assert pod["priorityClassName"] == "1"
    metadata = rendered.daemon_set["spec"]["template"]["metadata"]
    assert metadata["annotations"]["x.y/z"] == "1"
    assert metadata["labels"].items() >= {**LABELS, "team": "yes"}.items()


def test_empty_settings_leave_no_empty_keys(render: Render) -> None:
    empty: dict[str, Any] = {"tolerations": [], "priorityClassName": "", "resources": None}
    pod = render({"linux": empty}).pod
    assert not {"tolerations", "priorityClassName", "affinity", "imagePullSecrets"} & pod.keys()
    assert "resources" not in pod["containers"][0]


def test_name_override(render: Render) -> None:
    rendered = render({"nameOverride": "fence"})
    for found in (rendered.config_map, rendered.daemon_set):
        assert found["metadata"]["name"] == "fence-linux"
        assert found["metadata"]["labels"]["app.kubernetes.io/name"] == "fence"
    selector = rendered.daemon_set["spec"]["selector"]["matchLabels"]
    assert selector == {**LABELS, "app.kubernetes.io/name": "fence"}
    assert rendered.pod["volumes"][0]["configMap"] == {"name": "fence-linux"}


def test_names_that_look_like_numbers_stay_names(render: Render) -> None:
    rendered = render({"nameOverride": "1"}, release="2", namespace="3")
    labels = rendered.daemon_set["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "1"
    assert labels["app.kubernetes.io/instance"] == "2"
    assert rendered.daemon_set["metadata"]["namespace"] == "3"


def test_nothing_is_rendered_where_linux_nodes_are_not_governed(either_helm: Helm) -> None:
    assert either_helm.template({"linux": {"enabled": False}}).strip() == ""
