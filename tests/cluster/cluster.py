# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""A whole fake cluster, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster.apiserver import TOKEN, ApiServer
from tests.cluster.controllers import Controllers
from tests.cluster.node import FakeNode
from tests.cluster.store import Store

NAMESPACE = "udp-security"
# Seconds between two looks of the controllers.
_STEP = 0.02


class Cluster:
    """Nodes by name, the API server, and what the tests ask of its objects."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.nodes: dict[str, FakeNode] = {}
        self.add("linux-a", 1)
        self.add("linux-b", 2)
        self.add("windows-a", 3, os="windows")
        self.store = Store()
        self.server = ApiServer(self.store, self.nodes)

    def add(self, name: str, number: int, **rest: Any) -> FakeNode:
        """A node with addresses that go with its number."""
        node = FakeNode(name, f"10.9.{number >> 8}.{number & 255}", f"10.244.{number}.0/24", **rest)
        self.nodes[name] = node
        return node

    def modes(self) -> dict[str, str]:
        """The mode that is in force, by node; nothing for those without rules."""
        return {node.name: node.rules.mode for node in self.nodes.values() if node.rules}

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """The objects of a resource in our namespace by name."""
        return {o["metadata"]["name"]: o for o in self.store.list(kind, NAMESPACE)}

    def is_empty(self) -> bool:
        """Whether nothing of ours is there, neither objects nor rules."""
        spaces = {space["metadata"]["name"] for space in self.store.list("namespaces")}
        return NAMESPACE not in spaces and not self.modes()

    def policy(self) -> str:
        """The Linux nodes' ruleset, as the API server has it."""
        return str(self.objects("configmaps")["udp-security-linux"]["data"]["policy.nft"])

    def wait_until(self, condition: Callable[[], bool], seconds: float = 10) -> None:
        """Raises AssertionError when it does not become true in time."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "the cluster did not get there in time"
            time.sleep(_STEP)

    async def _furnish(self) -> None:
        for name in ("default", "kube-system"):
            self.store.create("namespaces", "", {"metadata": {"name": name}})
        service = {"metadata": {"name": "kube-dns"}, "spec": {"clusterIP": "10.96.0.10"}}
        self.store.create("services", "kube-system", service)
        services = {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]}}
        self.store.create("servicecidrs", "", services)

    async def _live(self, certificate: Path, began: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        await self._furnish()
        controllers = Controllers(self.store, self.nodes)
        controllers.step()
        port = await self.server.start(certificate)
        self._write_kubeconfig(port, certificate)
        began.set()
        try:
            while not self._end.is_set():
                version = self.store.version
                controllers.step()
                if self.store.version != version:
                    async with self.store.changed:
                        self.store.changed.notify_all()
                await asyncio.sleep(_STEP)
        finally:
            await self.server.stop()

    def _write_kubeconfig(self, port: int, certificate: Path) -> None:
        cluster = {
            "server": f"https://127.0.0.1:{port}",
            "certificate-authority": str(certificate),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": cluster}],
            "users": [
                {"name": "admin", "user": {"token": TOKEN}},
                {"name": "stranger", "user": {"token": "wrong"}},
            ],
            "contexts": [
                {"name": name, "context": {"cluster": "fake", "user": name}}
                for name in ("admin", "stranger")
            ],
            "current-context": "admin",
        }
        self.kubeconfig.write_text(json.dumps(config))


@contextmanager
def running(folder: Path, certificate: Path) -> Iterator[Cluster]:
    """A cluster of two Linux nodes and a Windows node, without our addon."""
    cluster = Cluster(folder / "kubeconfig")
    began = threading.Event()
    failures: list[BaseException] = []

    def live() -> None:
        try:
            asyncio.run(cluster._live(certificate, began))
        except BaseException as error:
            failures.append(error)
            began.set()

    thread = threading.Thread(target=live)
    thread.start()
    began.wait()
    try:
        if not failures:
            yield cluster
    finally:
        if not failures:
            cluster._loop.call_soon_threadsafe(cluster._end.set)
        thread.join()
    if failures:
        raise failures[0]


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, with its key, in one file."""
    key, certificate, both = (folder / name for name in ("key.pem", "cert.pem", "both.pem"))
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=fake"
    extensions = "subjectAltName=IP:127.0.0.1", "keyUsage=critical,digitalSignature,keyCertSign"
    command = ["openssl", "req", *options.split(), "-keyout", str(key), "-out", str(certificate)]
    for extension in extensions:
        command += ["-addext", extension]
    subprocess.run(command, check=True, capture_output=True)
    both.write_text(certificate.read_text() + key.read_text())
    return both
