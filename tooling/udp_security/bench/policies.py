# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The policies that are measured, as values of the chart, and what the chart makes of them."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from udp_security import helm
from udp_security.bench.source import PORT
from udp_security.chart import chart_dir
from udp_security.lab.addresses import OUTSIDER, PODS, cluster_values

# What the benchmark's own flows need; without them they are denied.
_ALLOWED: Final = (OUTSIDER.v4, PODS["pod-a"][1].v4)


def addresses(count: int) -> list[str]:
    """So many sources that do not merge, those of the benchmark's own flows last."""
    others = (f"11.{i >> 8 & 255}.{i & 255}.{i >> 16}/32" for i in range(count - len(_ALLOWED)))
    return [*(text.removesuffix("/32") for text in others), *_ALLOWED]


def entries(count: int, directions: Sequence[str] = ("ingress", "forward")) -> dict[str, Any]:
    """One port, and ``count`` sources that may send to it, in each of the directions."""
    return {
        "rules": [
            {"name": direction, "direction": direction, "ports": [PORT], "from": addresses(count)}
            for direction in directions
        ]
    }


def distinct(count: int) -> dict[str, Any]:
    """So many rules of 10 sources, half of them for packets to the node and half for those through
    it. Their ports overlap 10 deep, and of the 10 around PORT the last one allows our flows."""
    half = count // 2
    first = PORT - half // 2
    return {
        "rules": [
            {
                "name": f"{direction}-{i}",
                "direction": direction,
                "ports": [f"{first + i}-{first + i + 9}"],
                "from": [
                    *(f"11.{i >> 8}.{i & 255}.{host}" for host in range(8)),
                    *(
                        _ALLOWED
                        if first + i == PORT
                        else (f"12.{i >> 8}.{i & 255}.1", "12.255.0.1")
                    ),
                ],
            }
            for direction in ("ingress", "forward")
            for i in range(half)
        ]
    }


def with_linux(values: Mapping[str, Any], **linux: Any) -> dict[str, Any]:
    """The values with other ones under ``linux``."""
    return {**values, "linux": {**values.get("linux", {}), **linux}}


def documents(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rendered chart for the lab's cluster, the caller's own copy."""
    return copy.deepcopy(_documents(json.dumps({"cluster": cluster_values(), **values})))


def files(values: Mapping[str, Any]) -> dict[str, str]:
    """What the agent's ConfigMap holds: its scripts and the policy."""
    (data,) = (
        document["data"]
        for document in documents(values)
        if document["kind"] == "ConfigMap" and "policy.facts" in document["data"]
    )
    return dict(data)


@functools.lru_cache(maxsize=16)
def _documents(values: str) -> list[dict[str, Any]]:
    text = helm.template(chart_dir(), json.loads(values), "udp-security", "udp-security")
    return [document for document in yaml.load_all(text, Loader=yaml.CSafeLoader) if document]
