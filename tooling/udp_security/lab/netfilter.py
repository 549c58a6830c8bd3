# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The rules kube-proxy and flannel keep on a node, as text for iptables-restore, per family."""

from __future__ import annotations

from udp_security.lab.addresses import NODES, POD_NET, PODS, SERVICES, Family, Service
from udp_security.lab.netns import Namespace

_MASQUERADE = "0x4000/0x4000"


def restore(namespace: Namespace, family: Family, text: str) -> None:
    """Load rules beside those that are there."""
    tool = "iptables-nft-restore" if family == 4 else "ip6tables-nft-restore"
    namespace.run([tool, "--noflush"], stdin=text)


def kube_proxy(family: Family) -> str:
    """Services by DNAT, for forwarded and for the node's own packets, marks for masquerading."""
    chains, rules = [], []
    for service in SERVICES:
        service_chain, endpoint_chain = f"KUBE-SVC-{service.name}", f"KUBE-SEP-{service.name}"
        external_chain = f"KUBE-EXT-{service.name}"
        chains += [service_chain, endpoint_chain, external_chain]
        for protocol in ("udp", "tcp"):
            rules += _service(service, family, protocol)
        rules += [
            f"-A {service_chain} ! -s {POD_NET.of(family)} -j KUBE-MARK-MASQ",
            f"-A {service_chain} -j {endpoint_chain}",
            f"-A {external_chain} -j KUBE-MARK-MASQ",
            f"-A {external_chain} -j {service_chain}",
        ]
    lines = [
        "*nat",
        *(f":{name} - [0:0]" for name in ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING")),
        ":KUBE-MARK-MASQ - [0:0]",
        *(f":{name} - [0:0]" for name in chains),
        "-A PREROUTING -j KUBE-SERVICES",
        "-A OUTPUT -j KUBE-SERVICES",
        "-A POSTROUTING -j KUBE-POSTROUTING",
        f"-A KUBE-MARK-MASQ -j MARK --set-xmark {_MASQUERADE}",
        f"-A KUBE-POSTROUTING -m mark ! --mark {_MASQUERADE} -j RETURN",
        "-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0",
        "-A KUBE-POSTROUTING -j MASQUERADE --random-fully",
        *rules,
        "-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
        "COMMIT",
        "*filter",
        ":KUBE-FORWARD - [0:0]",
        "-A FORWARD -j KUBE-FORWARD",
        "-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP",
        f"-A KUBE-FORWARD -m mark --mark {_MASQUERADE} -j ACCEPT",
        "-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "COMMIT",
    ]
    return "\n".join(lines) + "\n"


def _service(service: Service, family: Family, protocol: str) -> list[str]:
    endpoint = PODS[service.pod][1].of(family)
    target = f"[{endpoint}]" if family == 6 else endpoint
    rules = [
        f"-A KUBE-SERVICES -d {service.address.of(family)} -p {protocol} --dport {service.port}"
        f" -j KUBE-SVC-{service.name}",
        # A pod that calls itself through its service must see the answer come from the service.
        f"-A KUBE-SEP-{service.name} -s {endpoint} -p {protocol} -j KUBE-MARK-MASQ",
        f"-A KUBE-SEP-{service.name} -p {protocol} -j DNAT"
        f" --to-destination {target}:{service.target_port}",
    ]
    if service.node_port is not None:
        rules.append(
            f"-A KUBE-NODEPORTS -p {protocol} --dport {service.node_port}"
            f" -j KUBE-EXT-{service.name}"
        )
    return rules


def flannel(family: Family, node: str) -> str:
    """Accept pods' packets, appended to FORWARD; masquerade what leaves the pod network."""
    pods, own = POD_NET.of(family), NODES[node].pods.of(family)
    multicast = "224.0.0.0/4" if family == 4 else "ff00::/8"
    lines = [
        "*filter",
        ":FLANNEL-FWD - [0:0]",
        "-A FORWARD -j FLANNEL-FWD",
        f"-A FLANNEL-FWD -s {pods} -j ACCEPT",
        f"-A FLANNEL-FWD -d {pods} -j ACCEPT",
        "COMMIT",
        "*nat",
        ":FLANNEL-POSTRTG - [0:0]",
        "-A POSTROUTING -j FLANNEL-POSTRTG",
        f"-A FLANNEL-POSTRTG -m mark --mark {_MASQUERADE} -j RETURN",
        f"-A FLANNEL-POSTRTG -s {own} -d {pods} -j RETURN",
        f"-A FLANNEL-POSTRTG -s {pods} -d {own} -j RETURN",
        f"-A FLANNEL-POSTRTG ! -s {pods} -d {own} -j RETURN",
        f"-A FLANNEL-POSTRTG -s {pods} ! -d {multicast} -j MASQUERADE --random-fully",
        f"-A FLANNEL-POSTRTG ! -s {pods} -d {pods} -j MASQUERADE --random-fully",
        "COMMIT",
    ]
    return "\n".join(lines) + "\n"


def remove_flannel(family: Family) -> str:
    """Take flannel's jumps and chains away, as its restart does before it appends them again."""
    lines = []
    for table, hook, chain in (
        ("filter", "FORWARD", "FLANNEL-FWD"),
        ("nat", "POSTROUTING", "FLANNEL-POSTRTG"),
    ):
        lines += [f"*{table}", f"-D {hook} -j {chain}", f"-F {chain}", f"-X {chain}", "COMMIT"]
    return "\n".join(lines) + "\n"
