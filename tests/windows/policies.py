# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the chart hands the Windows agent, without Helm: fast enough for thousands of policies.

tests/chart holds the template to this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests import strategies

from udp_security.policy.model import Network, all_rules, canonical, networks


def policy_json(values: Mapping[str, Any], version: str = "0.0.0") -> dict[str, Any]:
    """policy.json of merged values."""
    cluster = values["cluster"]
    pods = _texts(networks(cluster["podCIDRs"]))
    nodes = _texts(networks(cluster["nodeCIDRs"]))
    metrics = values["metrics"]
    return {
        "version": version,
        "mode": values["mode"],
        "denyAction": values["denyAction"],
        "scope": values["windows"]["scope"],
        "clusterCIDRs": [
            *pods,
            *_texts(networks(cluster["serviceCIDRs"])),
            *nodes,
        ],
        "nodeCIDRs": nodes,
        **(
            {"metrics": {"port": metrics["port"], "from": pods + nodes}}
            if metrics["enabled"]
            else {}
        ),
        "rules": [
            {
                "name": rule.name,
                "direction": rule.direction,
                "ports": [f"{low}-{high}" for low, high in rule.ports],
                "from": rule.sources and _texts(rule.sources),
                "to": rule.destinations and _texts(rule.destinations),
            }
            for rule in all_rules(values)
            if "windows" in rule.os and rule.direction != "forward"
        ],
    }


def rules_only(
    *rules: Mapping[str, Any], mode: str = "enforce", scope: str = "host"
) -> dict[str, Any]:
    """policy.json of these rules (as in the values, without their names) and no presets."""
    values: dict[str, Any] = {
        "mode": mode,
        "presets": dict.fromkeys(strategies.PRESETS, False),
        "windows": {"scope": scope},
        "rules": [{"name": f"rule-{number}", **rule} for number, rule in enumerate(rules)],
    }
    return policy_json(strategies.merged(values))


def ingress(*ports: int | str, **ends: list[str]) -> dict[str, Any]:
    """A rule's values; ``ends`` are ``to`` and ``from_``, which Python keeps for itself."""
    return _rule("ingress", ports, ends)


def egress(*ports: int | str, **ends: list[str]) -> dict[str, Any]:
    """As ``ingress``."""
    return _rule("egress", ports, ends)


def _rule(
    direction: str, ports: tuple[int | str, ...], ends: Mapping[str, list[str]]
) -> dict[str, Any]:
    sides = {key.rstrip("_"): cidrs for key, cidrs in ends.items()}
    return {"direction": direction, "ports": list(ports), **sides}


def _texts(nets: tuple[Network, ...]) -> list[str]:
    return [canonical(net) for net in nets]
