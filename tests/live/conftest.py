# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A node with the real agent in the lab, behind an API server that the command line can ask.

What the lab has, the API server knows: its nodes, pods and services by their names and addresses.
The agent's pod has the same name and uid in both; a command in it runs in the lab's container.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.cluster.cluster import NAMESPACE, Cluster, make_certificate, running
from tests.cluster.node import FakeNode, Reply
from tests.k2s.artifact_places import tool
from tests.lab.agents import documents
from tests.lab.conftest import lab, sandboxed

from udp_security.cli.main import cli
from udp_security.lab.addresses import DNS, FAMILIES, NODES, PODS, SERVICES, Pair
from udp_security.lab.errors import LabError
from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

__all__ = ["lab", "sandboxed"]

#: The label that tells a node by its name.
HOST = "kubernetes.io/hostname"
_STORED = {"ConfigMap": "configmaps", "DaemonSet": "daemonsets"}


class LiveNode(FakeNode):
    """A node of the lab. `agents` are the lab's pods on it by their uid."""

    def __init__(self, name: str) -> None:
        own = NODES[name]
        super().__init__(name, own.address.v4, own.pods.v4, labels={HOST: name})
        self.agents: dict[str, AgentPod] = {}

    def object(self) -> dict[str, Any]:
        """With both address families."""
        own = NODES[self.name]
        made = super().object()
        made["spec"]["podCIDRs"] = _both(own.pods)
        made["status"]["addresses"] = [
            *({"type": "InternalIP", "address": address} for address in _both(own.address)),
            {"type": "Hostname", "address": self.name},
        ]
        return made

    async def reply(self, pod: dict[str, Any], generation: str, command: Sequence[str]) -> Reply:
        """What the command says in the lab's container."""
        agent = self.agents.get(pod["metadata"]["uid"])
        if agent is None:
            return Reply(126, error="container not found")
        try:
            done = await asyncio.to_thread(agent.run, command)
        except LabError as error:
            return Reply(126, error=str(error))
        return Reply(done.returncode, done.stdout, done.stderr)


class Live:
    """The lab (`topology`), the agent's pod on its first node, and the fake cluster around them.

    The second node is not governed: the policy's nodeSelector leaves it out.
    """

    agent: AgentPod

    def __init__(self, topology: Lab, cluster: Cluster) -> None:
        self.topology = topology
        self.cluster = cluster
        self._node = LiveNode("node")
        cluster.nodes.clear()
        cluster.nodes.update({"node": self._node, "node2": LiveNode("node2")})
        _furnish(cluster)

    def enforce(self, values: Mapping[str, Any]) -> None:
        """A rollout: the agent of these values takes over from the one before, if there is one.

        `mode: audit` among them is as good. `cluster` is the lab's unless the values say another.
        """
        linux = {**values.get("linux", {}), "nodeSelector": {HOST: self._node.name}}
        made = documents({**values, "linux": linux})
        self._store(made)
        (pod,) = self.cluster.objects("pods").values()
        uid, name = pod["metadata"]["uid"], pod["metadata"]["name"]
        if uid in self._node.agents:
            return
        self.agent = AgentPod(self.topology, self._node.name, made, uid=uid, name=name)
        self.agent.start()
        self.agent.wait_ready()
        for old in self._node.agents.values():
            old.stop()
            old.delete()
        self._node.agents = {uid: self.agent}

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        """The command line: `live.run("status", "-o", "json")`."""
        return CliRunner().invoke(cli, arguments, input=stdin, prog_name="udp-security")

    def _store(self, made: Sequence[Mapping[str, Any]]) -> None:
        """Leaves the documents in the API server, with one pod that is theirs."""
        store = self.cluster.store
        for document in made:
            if kind := _STORED.get(document["kind"]):
                name = document["metadata"]["name"]
                store.apply(kind, NAMESPACE, name, "helm", dict(document))
        wanted = self.cluster.objects("daemonsets")["udp-security-linux"]["metadata"]["generation"]

        def rolled_out() -> bool:
            status = self.cluster.objects("daemonsets")["udp-security-linux"].get("status", {})
            new = status.get("observedGeneration") == wanted and status["updatedNumberScheduled"]
            return bool(new == len(self.cluster.objects("pods")) == 1)

        self.cluster.wait_until(rolled_out)


def _both(pair: Pair) -> list[str]:
    return [pair.of(family) for family in FAMILIES]


def _furnish(cluster: Cluster) -> None:
    """The lab's pods and services; cluster DNS in kube-system as everywhere, all else in `lab`."""
    store = cluster.store
    for name in (NAMESPACE, "lab"):
        store.create("namespaces", "", {"metadata": {"name": name}})
    for name, (node, pair) in PODS.items():
        space = "kube-system" if name == "dns" else "lab"
        ips = [{"ip": address} for address in _both(pair)]
        status = {"phase": "Running", "podIP": pair.v4, "podIPs": ips}
        pod = {"metadata": {"name": name}, "spec": {"nodeName": node}, "status": status}
        store.create("pods", space, pod)
    store.remove("services", "kube-system", "kube-dns")
    for service in SERVICES:
        space, name = "lab", service.name
        if service == DNS:
            space, name = "kube-system", "kube-dns"
        spec = {"clusterIP": service.address.v4, "clusterIPs": _both(service.address)}
        store.create("services", space, {"metadata": {"name": name}, "spec": spec})


@pytest.fixture(scope="module")
def live(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One for the tests of a file; nothing is enforced until a test calls `enforce`.

    The command line talks to it, for it is what $KUBECONFIG names.
    """
    tool("openssl")
    folder = tmp_path_factory.mktemp("live")
    with (
        running(folder, make_certificate(folder)) as cluster,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        patch.setenv("HOME", str(folder))
        yield Live(lab, cluster)
