# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the cluster has at an address, out of an API server's lists."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any, cast

from udp_security.cluster.client import Client, NoAccessError
from udp_security.cluster.names import Names, names_of
from udp_security.cluster.nodes import Node

NODE = Node(
    name="linux-a",
    os="linux",
    ready=True,
    labels={},
    pod_cidrs=("10.244.1.0/24", "fd00:244:1::/64"),
    addresses=("172.19.1.100", "fd00:19::100"),
)


class Lists:
    """An API server that has these lists, by resource, each cut into pages. None: forbidden."""

    def __init__(self, **pages: list[list[dict[str, Any]]] | None) -> None:
        self._pages = pages

    async def page(self, path: str, **query: str) -> tuple[list[dict[str, Any]], str]:
        pages = self._pages.get(path.removeprefix("/api/v1/"), [[]])
        if pages is None:
            raise NoAccessError("the server refuses: not for you")
        assert query["limit"]
        number = int(query.get("continue", 0))
        return pages[number], "" if number == len(pages) - 1 else str(number + 1)


def names(nodes: tuple[Node, ...] = (NODE,), **pages: Any) -> Names:
    return asyncio.run(names_of(cast(Client, Lists(**pages)), nodes))


def known(found: Names) -> dict[str, str]:
    return {str(address): name for address, name in found.known.items()}


def pod(name: str, *addresses: str, phase: str = "Running", host: bool = False) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ward", "name": name},
        "spec": {"hostNetwork": True} if host else {},
        "status": {"phase": phase, "podIPs": [{"ip": address} for address in addresses]},
    }


def service(name: str, status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    made = {"metadata": {"namespace": "ward", "name": name}, "spec": spec}
    return made | ({"status": status} if status else {})


def test_nodes_with_the_addresses_that_flannel_gives_them() -> None:
    assert known(names()) == dict.fromkeys(
        ("172.19.1.100", "fd00:19::100", "10.244.1.0", "10.244.1.1", "fd00:244:1::",
         "fd00:244:1::1"),
        "node linux-a",
    )  # fmt: skip


def test_pods_of_all_pages() -> None:
    found = names(
        nodes=(),
        pods=[[pod("a", "10.244.1.7", "fd00:244:1::7")], [pod("b", "10.244.1.8")], []],
    )
    assert known(found) == {
        "10.244.1.7": "pod ward/a",
        "fd00:244:1::7": "pod ward/a",
        "10.244.1.8": "pod ward/b",
    }


def test_pods_that_have_no_address_of_their_own() -> None:
    found = names(
        nodes=(),
        pods=[
            [
                pod("done", "10.244.1.7", phase="Succeeded"),
                pod("evicted", "10.244.1.7", phase="Failed"),
                pod("agent", "172.19.1.100", host=True),
                {"metadata": {"namespace": "ward", "name": "new"}, "spec": {}},
                # It has the address now.
                pod("last", "10.244.1.7"),
            ]
        ],
    )
    assert known(found) == {"10.244.1.7": "pod ward/last"}


def test_services() -> None:
    balancer = {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb.example"}]}}
    found = names(
        nodes=(),
        services=[
            [
                service("dns", clusterIPs=["10.96.0.10", "fd00:96::a"]),
                service("headless", clusterIPs=["None"]),
                service("out", balancer, clusterIPs=["10.96.0.11"], externalIPs=["192.0.2.8"]),
                service("elsewhere", externalName="example.org"),
            ]
        ],
    )
    assert known(found) == {
        "10.96.0.10": "service ward/dns",
        "fd00:96::a": "service ward/dns",
        "10.96.0.11": "service ward/out",
        "192.0.2.8": "service ward/out",
        "192.0.2.9": "service ward/out",
    }


def test_who_comes_first() -> None:
    """Some load balancers give a node's address to services; some networks a pod the first one."""
    found = names(
        pods=[[pod("first", "10.244.1.1"), pod("odd", "192.0.2.9")]],
        services=[[service("out", externalIPs=["172.19.1.100", "192.0.2.9"])]],
    )
    assert known(found)["172.19.1.100"] == "node linux-a"
    assert known(found)["10.244.1.1"] == "pod ward/first"
    assert known(found)["192.0.2.9"] == "pod ward/odd"


def test_what_may_not_be_listed_has_no_names() -> None:
    found = names(pods=None, services=[[service("dns", clusterIPs=["10.96.0.10"])]])
    assert found.notes == ("addresses of pods are without names: the server refuses: not for you",)
    assert found.known[ip_address("10.96.0.10")] == "service ward/dns"
    assert found.known[ip_address("172.19.1.100")] == "node linux-a"
