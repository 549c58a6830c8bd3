# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What a real Prometheus makes of the chart's ServiceMonitor, and of the scrape job in the docs."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from tests.k2s.artifact_places import ROOT, lacking, tool

import recorded

PAGE = """\
# HELP udp_security_enforced Whether the policy is in force.
# TYPE udp_security_enforced gauge
udp_security_enforced 1
# HELP udp_security_denied_packets_total Packets.
# TYPE udp_security_denied_packets_total counter
udp_security_denied_packets_total{direction="ingress"} 7
"""


def discovered(pod: str) -> dict[str, str]:
    """What Prometheus knows of an endpoint of the Service, as its SD has it."""
    return {
        "__meta_kubernetes_namespace": "udp-security",
        "__meta_kubernetes_service_name": "udp-security-metrics",
        "__meta_kubernetes_endpoint_port_name": "metrics",
        "__meta_kubernetes_endpoint_address_target_kind": "Pod",
        "__meta_kubernetes_endpoint_address_target_name": pod,
        "__meta_kubernetes_pod_name": pod,
        "__meta_kubernetes_pod_node_name": "node-a",
    }


# What is left of it.
LABELS = {
    "namespace": "udp-security",
    "job": "udp-security-metrics",
    "node": "node-a",
    "instance": recorded.TARGET,
}
# What the operator puts before a ServiceMonitor's own relabelings.
OPERATORS = [
    {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": target}
    for source, target in (
        ("namespace", "namespace"),
        ("service_name", "service"),
        ("service_name", "job"),
        ("pod_name", "pod"),
        ("endpoint_port_name", "endpoint"),
    )
]


@pytest.fixture(scope="module")
def answers(objects: dict[str, dict[str, Any]]) -> list[Any]:
    """Targets, and the series of `udp_security_enforced`, of a rollout's two pods of one node: by
    the ServiceMonitor's job and by that in the docs.
    """
    for program in ("promtool", "prometheus", "setpriv"):
        tool(program)
    (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
    keys = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    relabelings = [
        {keys.get(key, key): value for key, value in one.items()} for one in endpoint["relabelings"]
    ]
    monitor = {"job_name": "monitor", "relabel_configs": [*OPERATORS, *relabelings]}
    text = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n(scrape_configs:\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    (by_hand,) = yaml.safe_load(block)["scrape_configs"]
    # Debian's Prometheus knows no Kubernetes, which would tell what `discovered` does.
    assert by_hand.pop("kubernetes_sd_configs")[0]["role"] == "endpoints"
    static = [{"targets": [recorded.TARGET], "labels": discovered(pod)} for pod in ("old", "new")]
    scrapes = [
        {**job, "scrape_interval": "1s", "scrape_timeout": "1s", "static_configs": static}
        for job in (monitor, by_hand)
    ]
    metric = "udp_security_enforced"
    paths = ["/api/v1/targets", f"/api/v1/query?query={metric}"]
    try:
        return recorded.ask(paths, config={"scrape_configs": scrapes}, page=PAGE, until=metric)
    except recorded.RecordedError as error:
        if "namespaces" not in str(error):
            raise
        lacking(str(error))


def test_two_pods_of_a_node_are_one_target(answers: list[Any]) -> None:
    targets = {target["scrapePool"]: target["labels"] for target in answers[0]["activeTargets"]}
    assert len(answers[0]["activeTargets"]) == len(targets) == 2
    assert targets["monitor"] == targets["udp-security-metrics"] == LABELS


def test_a_series_has_the_nodes_name_and_not_the_pods(answers: list[Any]) -> None:
    (series,) = answers[1]["result"]
    assert series["metric"] == {"__name__": "udp_security_enforced", **LABELS}
    assert series["value"][1] == "1"
