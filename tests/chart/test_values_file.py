# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""values.yaml itself: every key is explained, is in the schema, and does something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import values_table

from .support import CHART, SYSTEMS, Helm, Refused, rule

TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")
DEFAULTS: dict[str, Any] = yaml.load(TEXT, yaml.CSafeLoader)
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
# Kubernetes' own objects, which are passed on as they are.
OPAQUE = {
    "metrics.labels",
    *(f"{os}.{key}" for os in SYSTEMS for key in ("resources", "affinity")),
}
# For each key of an agent's, another value.
AGENT: dict[str, Any] = {
    "enabled": False,
    "onStop": "keep",
    "pollSeconds": 5,
    "image.repository": "x/y",
    "image.tag": "x",
    "image.pullPolicy": "Always",
    "resources": {"limits": {"memory": "1Gi"}},
    "nodeSelector": {"a": "b"},
    "tolerations": [],
    "affinity": {"podAffinity": {"a": "b"}},
    "priorityClassName": "x",
    "podAnnotations": {"a": "b"},
    "podLabels": {"a": "b"},
}


def nested(path: str, value: Any) -> dict[str, Any]:
    """The values that have `value` at a dotted path."""
    for key in reversed(path.split(".")):
        value = {key: value}
    return dict(value)


# For each key another value, and what else must be set for it to be taken.
OTHER: dict[str, Any] = {
    "nameOverride": {"nameOverride": "x"},
    "mode": {"mode": "audit"},
    "denyAction": {"denyAction": "reject"},
    "rules": {"rules": [rule()]},
    "imagePullSecrets": {"imagePullSecrets": [{"name": "x"}]},
    **{
        f"presets.{key}": {
            "presets": {key: not on},
            "dangerouslyCutOff": [key] if key in ("dns", "dhcp", "flannelVxlan") else [],
        }
        for key, on in DEFAULTS["presets"].items()
    },
    "cluster.podCIDRs": {"cluster": {"podCIDRs": ["10.0.0.0/8"]}},
    "cluster.serviceCIDRs": {"cluster": {"serviceCIDRs": ["10.0.0.0/8"]}},
    "cluster.nodeCIDRs": {"cluster": {"nodeCIDRs": ["10.0.0.0/8"]}},
    "cluster.dnsServers": {"cluster": {"dnsServers": ["10.0.0.0/8"]}},
    "metrics.enabled": {"metrics": {"enabled": True}},
    "linux.scope": {"linux": {"scope": "cluster"}},
    "linux.backend": {"linux": {"backend": "nftables"}},
    "linux.verdictCache.enabled": {"linux": {"verdictCache": {"enabled": False}}},
    "linux.verdictCache.mask": {"linux": {"verdictCache": {"mask": 0xFF}}},
    "linux.antiSpoofing": {"linux": {"antiSpoofing": False}},
    "linux.prefilter": {"linux": {"prefilter": True}},
    "linux.logDenials": {"linux": {"logDenials": True}},
    "linux.untrackedReplyAddresses": {"linux": {"untrackedReplyAddresses": ["10.0.0.1"]}},
    "windows.scope": {"windows": {"scope": "host"}},
    **{
        f"{os}.{key}": nested(f"{os}.{key}", value)
        for os in SYSTEMS
        for key, value in AGENT.items()
    },
}
# For each key of metrics another value, which makes a difference where there are metrics.
METRICS: dict[str, Any] = {
    "metrics.port": {"port": 1024},
    "metrics.prometheusOperator": {"prometheusOperator": False},
    "metrics.labels": {"labels": {"release": "x"}},
}
# Changes only what is refused; the tests of semantics have it.
REFUSING = {"dangerouslyCutOff"}


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of all keys that hold no further keys of ours."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value and path not in OPAQUE:
            yield from leaves(value, f"{path}.")
        else:
            yield path


def schema_leaves(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The same of the schema, without the place that Helm gives a parent chart."""
    for key, named in schema["properties"].items():
        path = f"{prefix}{key}"
        inner = SCHEMA["definitions"].get(named.get("$ref", "").rpartition("/")[2], named)
        if inner.get("properties") and path not in OPAQUE:
            yield from schema_leaves(inner, f"{path}.")
        elif path != "global":
            yield path


def test_the_schema_has_the_same_keys() -> None:
    assert sorted(schema_leaves(SCHEMA)) == sorted(leaves(DEFAULTS))


def test_every_key_has_prose_above_it() -> None:
    explained = {row.key for row in values_table.rows(TEXT)}  # refuses a key without prose
    assert set(leaves(DEFAULTS)) <= explained


def test_every_key_is_tried() -> None:
    assert OTHER.keys() | METRICS.keys() | REFUSING == set(leaves(DEFAULTS))


@pytest.mark.parametrize("key", OTHER)
def test_every_key_does_something(helm: Helm, key: str) -> None:
    assert helm.template(OTHER[key]) != helm.template()


@pytest.mark.parametrize("key", METRICS)
def test_every_key_of_metrics_does_something(helm: Helm, key: str) -> None:
    metrics = {"enabled": True}
    other = {"metrics": {**metrics, **METRICS[key]}}
    assert helm.template(other) != helm.template({"metrics": metrics})


def test_the_cluster_may_be_cut_off_only_by_name(helm: Helm) -> None:
    values = {"presets": {"dns": False}}
    with pytest.raises(Refused):
        helm.template(values)
    helm.template({**values, "dangerouslyCutOff": ["dns"]})
