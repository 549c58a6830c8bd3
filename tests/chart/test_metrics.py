# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The objects for Prometheus and Grafana: when there are any, and that they find each other."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from .support import SYSTEMS, Helm

OBJECTS = {"Service", "ServiceMonitor", "PrometheusRule", "ConfigMap"}


def objects(helm: Helm, values: dict[str, Any], **options: Any) -> dict[str, Any]:
    """The objects beside the agents', by kind."""
    values = {**values, "metrics": {"enabled": True, **values.get("metrics", {})}}
    documents = yaml.load_all(helm.template(values, **options), yaml.CSafeLoader)
    return {
        document["kind"]: document
        for document in documents
        if document and document["metadata"]["labels"]["app.kubernetes.io/component"] not in SYSTEMS
    }


@pytest.fixture(scope="module")
def found(helm: Helm) -> dict[str, Any]:
    """The objects of a chart whose name, release and namespace are all other ones."""
    return objects(helm, {"nameOverride": "fence"}, release="r", namespace="n")


def test_there_is_nothing_by_default(helm: Helm) -> None:
    assert objects(helm, {"metrics": {"enabled": False}}) == {}
    assert "name: metrics" not in helm.template()


def test_the_agent_stays_the_container_that_commands_run_in(helm: Helm) -> None:
    for on, container in ((False, None), (True, "agent")):
        text = helm.template({"metrics": {"enabled": on}})
        pods = [
            document["spec"]["template"]
            for document in yaml.load_all(text, yaml.CSafeLoader)
            if document["kind"] == "DaemonSet"
        ]
        key = "kubectl.kubernetes.io/default-container"
        assert [pod["metadata"]["annotations"].get(key) for pod in pods] == [container] * 2


def test_the_notes_name_the_port_and_the_tcp_rule(helm: Helm) -> None:
    notes = helm.notes({"metrics": {"enabled": True, "port": 9999}})
    assert "  curl http://NODE:9999/metrics\n" in notes
    assert "untouched, but for TCP 9999, which Windows nodes open to the cluster.\n" in notes
    assert "curl" not in helm.notes({}) and "but for" not in helm.notes({})


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ({}, OBJECTS),
        ({"linux": {"enabled": False}}, OBJECTS),
        ({"windows": {"enabled": False}}, OBJECTS),
        ({"metrics": {"prometheusOperator": False}}, {"Service"}),
        # No agent has metrics.
        ({os: {"enabled": False} for os in SYSTEMS}, set()),
    ],
    ids=["both systems", "windows", "linux", "no operator", "no agent"],
)
def test_the_objects(either_helm: Helm, values: dict[str, Any], kinds: set[str]) -> None:
    assert objects(either_helm, values).keys() == kinds


def test_all_are_the_releases_own(found: dict[str, Any]) -> None:
    assert found.keys() == OBJECTS
    for document in found.values():
        assert document["metadata"]["name"] == "fence-metrics"
        assert document["metadata"]["namespace"] == "n"


def test_the_service_finds_all_agents_and_no_other_pod(helm: Helm) -> None:
    text = helm.template({"metrics": {"enabled": True, "port": 1234}})
    documents = [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]
    (service,) = (document for document in documents if document["kind"] == "Service")
    pods = [
        document["spec"]["template"] for document in documents if document["kind"] == "DaemonSet"
    ]
    assert len(pods) == len(SYSTEMS)
    selector = service["spec"]["selector"]
    for pod in pods:
        assert selector.items() <= pod["metadata"]["labels"].items()
        (container,) = (one for one in pod["spec"]["containers"] if one["name"] == "metrics")
        # Two pods of a rollout, on one host's network, could not both declare a port.
        assert "ports" not in container
        assert {"name": "UDP_SECURITY_METRICS_PORT", "value": "1234"} in container["env"]
    assert selector.keys() == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    assert service["spec"]["clusterIP"] == "None"
    # An agent whose policy is not in force is not ready, and the one to hear of.
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["ports"] == [{"name": "metrics", "port": 1234, "targetPort": 1234}]


def test_the_monitor_finds_the_service(found: dict[str, Any]) -> None:
    monitor, service = found["ServiceMonitor"]["spec"], found["Service"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]


def test_k2s_prometheus_selects_them(found: dict[str, Any]) -> None:
    for kind in ("ServiceMonitor", "PrometheusRule"):
        assert found[kind]["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_another_prometheus_selects_them_by_other_labels(helm: Helm) -> None:
    name = "app.kubernetes.io/name"
    labels = {"release": None, "team": "net", "prometheus": "1", name: "another"}
    other = objects(helm, {"metrics": {"labels": labels}})
    for kind in ("ServiceMonitor", "PrometheusRule"):
        has = other[kind]["metadata"]["labels"]
        assert has.items() >= {"team": "net", "prometheus": "1"}.items()
        assert "release" not in has
        assert has[name] == "udp-security"
    for kind in ("Service", "ConfigMap"):
        assert "team" not in other[kind]["metadata"]["labels"]


def test_the_alerts_watch_this_release(found: dict[str, Any]) -> None:
    (group,) = found["PrometheusRule"]["spec"]["groups"]
    (down,) = (rule for rule in group["rules"] if rule.get("alert") == "UdpSecurityAgentDown")
    # Prometheus calls the job by the Service.
    selectors = re.findall(r"up({.*?})", down["expr"])
    assert len(selectors) == 7
    assert set(selectors) == {'{job="fence-metrics", namespace="n"}'}


def test_the_alerts_watch_this_releases_rollouts(helm: Helm, found: dict[str, Any]) -> None:
    (group,) = found["PrometheusRule"]["spec"]["groups"]
    (stuck,) = (rule for rule in group["rules"] if rule.get("alert") == "UdpSecurityRolloutStuck")
    selectors = re.findall(r'{\s*namespace="(.*?)", daemonset=~"(.*?)"\s*}', stuck["expr"])
    assert len(selectors) == 3
    ((namespace, names),) = set(selectors)
    text = helm.template({"nameOverride": "fence"}, release="r", namespace="n")
    sets = [
        document["metadata"]
        for document in yaml.load_all(text, yaml.CSafeLoader)
        if document["kind"] == "DaemonSet"
    ]
    assert len(sets) == len(SYSTEMS)
    for metadata in sets:
        assert metadata["namespace"] == namespace
        assert re.fullmatch(names, metadata["name"])


def test_a_node_cannot_feed_more_than_an_agent_has(found: dict[str, Any]) -> None:
    """500 rules, the others in three directions, and some twenty."""
    assert 530 < found["ServiceMonitor"]["spec"]["sampleLimit"] <= 1000


def test_the_dashboard_is_one_for_grafanas_sidecar(found: dict[str, Any]) -> None:
    assert found["ConfigMap"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    ((name, text),) = found["ConfigMap"]["data"].items()
    assert name.endswith(".json")
    assert json.loads(text)["uid"] == "udp-security"
    assert 'up{job=\\"fence-metrics\\"' in text
    assert "udp-security-metrics" not in text
