# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The agent's metrics: what they say, and who hands them out when."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.lab import usage
from tests.lab.agents import (
    OPEN,
    OTHER,
    POLICY,
    Documents,
    Node,
    agent_pod_spec,
    replace,
    said,
    state,
    status,
    until,
    with_files,
)

from udp_security.lab import sandbox
from udp_security.lab.addresses import Family
from udp_security.lab.pod import AgentPod
from udp_security.lab.topology import Lab

PORT: Final = 9797
NTP: Final = 123
SAMPLE: Final = re.compile(
    r'(?P<name>udp_security_[a-z_]+)(?:\{(?P<labels>[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*)\})?'
    r" (?P<value>\d+(?:\.\d+)?)"
)

Samples = dict[tuple[str, ...], float]


def samples(text: str) -> Samples:
    """Values by the metric's name and its labels' values; every line has to be right."""
    found: Samples = {}
    described: dict[str, str] = {}
    for line in text.splitlines():
        if help_ := re.fullmatch(r"# (HELP|TYPE) (udp_security_[a-z_]+) (.+)", line):
            described[help_[2]] = help_[3]
        elif not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            kind = described[match["name"]]
            assert kind == ("counter" if match["name"].endswith("_total") else "gauge")
            labels = re.findall(r'="([^"]*)"', match["labels"] or "")
            key = (match["name"].removeprefix("udp_security_"), *labels)
            assert key not in found
            found[key] = float(match["value"])
    return found


def with_metrics(values: Mapping[str, Any] = POLICY) -> Documents:
    """The chart's documents, with a listener that looks for its file ten times a second."""

    def hurry(data: dict[str, str]) -> None:
        replace(data, "serve.sh", "SERVE_NAP=2\n", "SERVE_NAP=0.1\n")

    made = with_files({**values, "metrics": {"enabled": True}}, hurry, poll=0.5)
    agent, listener = agent_pod_spec(made)["containers"]
    listener["env"] = agent["env"]
    if sandbox.rootless():
        # There is no other user, and the only one is root.
        for key in ("runAsUser", "runAsGroup", "runAsNonRoot"):
            del listener["securityContext"][key]
    return made


@dataclass(frozen=True)
class Pod:
    """The two containers of a pod."""

    agent: AgentPod
    listener: AgentPod


class MetricsNode(Node):
    """A node whose pods have metrics."""

    def two(self, made: Documents | None = None) -> Pod:
        """A pod, both containers started."""
        made = with_metrics() if made is None else made
        agent = self.pod(made)
        listener = AgentPod(self.lab, "node", made, container="metrics", beside=agent)
        self._pods.insert(0, listener)
        agent.start()
        listener.start()
        return Pod(agent, listener)

    def connect(self, family: Family = 4, timeout: float = 5.0) -> socket.socket:
        """A connection to the metrics' port from outside the cluster. OSError: there is none."""
        kind = socket.AF_INET if family == 4 else socket.AF_INET6
        client = self.lab.ns("outsider").socket(kind, socket.SOCK_STREAM)
        client.settimeout(timeout)
        try:
            client.connect((self.lab.address("node", family), PORT))
        except OSError:
            client.close()
            raise
        return client

    def get(self, path: str = "/metrics", family: Family = 4) -> tuple[int, str]:
        """Status and body of an answer; status 0 where nobody listens or answers."""
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n", family)

    def ask(self, request: str, family: Family = 4) -> tuple[int, str]:
        """The same of any request; a connection that is reset is no answer."""
        try:
            with self.connect(family) as client:
                client.sendall(request.encode())
                answer = b"".join(iter(lambda: client.recv(65536), b""))
        except OSError:
            return 0, ""
        head, _, body = answer.decode("utf-8").partition("\r\n\r\n")
        return (int(head.split(" ")[1]) if head else 0), body

    def served(self, **labels: str) -> Samples:
        """The metrics as soon as they are there, of the pod with this generation if one is
        named."""
        wanted = "".join(f'{name}="{value}"' for name, value in labels.items())

        def there() -> str:
            code, body = self.get()
            return body if code == 200 and wanted in body else ""

        return samples(until(there, timeout=30))


@pytest.fixture
def node(lab: Lab) -> Iterator[MetricsNode]:
    """The lab's first node."""
    governed = MetricsNode(lab)
    with governed:
        yield governed


def test_the_metrics_are_the_kernels_counters(node: MetricsNode) -> None:
    pod = node.two()
    pod.agent.wait_ready()
    address = node.lab.address("node")
    for _ in range(3):
        assert node.lab.probe("outsider", address, OPEN, reply=False).delivered
    for _ in range(2):
        assert not node.lab.probe("outsider", address, OTHER, timeout=0.05).delivered
    node.nft("add", "chain", "inet", "udp_security", "foreign")
    until(lambda: status(pod.agent)["heals"] == 1)
    told = status(pod.agent)

    until(lambda: node.served().get(("heals_total",)) == 1)
    found = node.served()
    assert found["allowed_flows_total", "open", "ingress"] == 3
    assert found["denied_packets_total", "ingress"] == 2
    assert found["denied_packets_total", "forward"] == 0
    assert found["guarded_packets_total", "spoofed"] == 0
    rules = {rule["name"]: rule["packets"] for rule in told["counters"]["rules"]}
    of_rules = {key[1]: value for key, value in found.items() if key[0] == "allowed_flows_total"}
    assert of_rules == rules
    assert found["allowed_flows_total", "preset:dns:forward", "forward"] == 0

    version = told["version"]
    assert found["info", "linux", "nftables", "enforce", "host", told["generation"], version] == 1
    assert found["enforced",] == 1
    assert found["verdict_cache_trusted",] == 0
    assert found["apply_seconds",] == told["applySeconds"] > 0
    now = time.time()
    assert now - 120 < found["applied_timestamp_seconds",] <= found["last_look_timestamp_seconds",]
    assert found["last_look_timestamp_seconds",] <= now
    assert said(pod.listener, "serving") == [f"metrics on TCP port {PORT} of {address}"]


def test_without_a_listener_they_are_printed_only(node: MetricsNode) -> None:
    """`metrics` prints what Prometheus' own tool finds right. Many rules are summed up."""
    made = with_files(
        {**POLICY, "linux": {"backend": "nftables"}},
        lambda data: replace(data, "metrics.sh", "METRICS_RULES=500\n", "METRICS_RULES=6\n"),
    )
    assert len(agent_pod_spec(made)["containers"]) == 1
    pod = node.start(made)
    outside = node.lab.address("outsider")
    assert node.lab.probe("node", outside, NTP, reply=False).delivered
    done = pod.exec("metrics")
    assert (done.returncode, done.stderr) == (0, "")
    found = samples(done.stdout)
    rules = [key[1:] for key in found if key[0] == "allowed_flows_total"]
    assert rules[4:] == [
        ("open", "ingress"),
        ("preset:dns:egress", "egress"),
        ("(others)", "egress"),
        ("(others)", "forward"),
    ]
    assert found["allowed_flows_total", "(others)", "egress"] == 1
    assert not list(state(pod, node.lab).glob("metrics.*"))

    promtool = shutil.which("promtool")
    if promtool is None and os.environ.get("CI"):
        pytest.fail("promtool is missing (make installs it)")
    if promtool is None:
        pytest.skip("promtool is missing (make installs it)")
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=done.stdout,
        text=True,
        capture_output=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_refused_policy_is_not_enforced(node: MetricsNode) -> None:
    pod = node.two(with_metrics({"cluster": {"nodeCIDRs": ["192.0.2.0/24"]}}))
    until(lambda: said(pod.agent, "refused"))
    found = node.served()
    assert found["enforced",] == 0
    assert ("applied_timestamp_seconds",) not in found
    assert not [key for key in found if key[0].endswith("_packets_total")]
    assert "192.0.2.0/24" in status(pod.agent)["reason"]


def test_of_two_pods_the_owner_is_heard(node: MetricsNode) -> None:
    old = node.two()
    first = status(old.agent)["generation"]
    node.served(generation=first)
    new = node.two(with_metrics({"rules": []}))
    second = status(new.agent)["generation"]
    node.served(generation=second)
    assert not (state(old.agent, node.lab) / "metrics.prom").exists()

    # A third one that may not have the node says nothing of itself.
    refused = node.two(with_metrics({"cluster": {"nodeCIDRs": ["192.0.2.0/24"]}}))
    until(lambda: said(refused.agent, "refused"))
    until(lambda: not (state(refused.agent, node.lab) / "metrics.prom").exists())
    assert ("info", *_info(node.served())) == ("info", *_info(node.served(generation=second)))


def _info(found: Samples) -> tuple[str, ...]:
    (labels,) = (key[1:] for key in found if key[0] == "info")
    return labels


def test_a_dead_agent_does_not_look_alive(node: MetricsNode) -> None:
    pod = node.two()
    node.served()
    pod.agent.kill()
    old = time.time() - 100
    os.utime(state(pod.agent, node.lab) / "metrics.prom", (old, old))
    code, body = node.get()
    assert (code, body) == (503, "no fresh metrics from the agent (see its log)\n")
    assert node.get("/")[0] == 404
    assert node.ask(f"POST /metrics HTTP/1.1\r\n\r\n{'body' * 1000}")[0] == 405
    pod.agent.start()
    until(lambda: node.get()[0] == 200)


def test_another_program_has_the_port(node: MetricsNode) -> None:
    address = node.lab.address("node")
    with node.lab.ns("node").socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        # Connections of earlier tests may still be known.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((address, PORT))
        other.listen()
        pod = node.two()
        until(lambda: said(pod.listener, "not-serving"))
        # It goes on trying, and does not repeat what it said.
        time.sleep(0.5)
        assert len(said(pod.listener, "not-serving")) == 1
        assert said(pod.agent, "applied")
    node.served()
    until(lambda: said(pod.listener, "serving"))


def test_both_families(node: MetricsNode) -> None:
    made = with_metrics()
    v6 = node.lab.address("node", 6)
    for container in agent_pod_spec(made)["containers"]:
        container["env"] = [
            {"name": entry["name"], "value": v6}
            if entry["name"] == "UDP_SECURITY_NODE_IP"
            else entry
            for entry in container["env"]
        ]
    node.two(made)
    until(lambda: node.get(family=6)[0] == 200)
    # Nowhere but at the node's address.
    assert node.get()[0] == 0


def test_the_listener_is_confined(node: MetricsNode) -> None:
    """To no rights, to a bounded number of processes, and to the agent's life."""
    pod = node.two()
    node.served()
    text = Path(f"/proc/{pod.listener.pid}/status").read_text(encoding="ascii")
    assert set(re.findall(r"Cap\w+:\t(\w+)", text)) == {"0" * 16}
    assert re.search(r"NoNewPrivs:\t1", text)
    if not sandbox.rootless():
        assert re.search(r"Uid:\t(65534\t?){4}\nGid:\t(65534\t?){4}\n", text)
        refused = pod.listener.run(["cat", "/run/udp-security/policy/policy.facts"])
        assert "denied" in refused.stderr
    touched = pod.listener.run(["touch", "/run/udp-security/metrics.prom"])
    assert "ead-only" in touched.stderr
    held = state(pod.agent, node.lab)
    modes = {name: (held / name).stat().st_mode & 0o777 for name in ("metrics.prom", "directions")}
    assert modes == {"metrics.prom": 0o644, "directions": 0o600}

    # It answers with the script that it began with.
    pod.listener.update_configmap({"serve.sh": "exit 1\n"})
    node.served()

    with contextlib.ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(
                node.lab.ns("outsider").socket(socket.AF_INET, socket.SOCK_STREAM)
            )
            client.setblocking(False)
            client.connect_ex((node.lab.address("node"), PORT))
        until(lambda: len(usage.processes(pod.listener)) > 3)
        assert max(len(usage.processes(pod.listener)) for _ in range(30)) < 45
    node.served()

    pod.agent.stop()
    until(lambda: node.get()[0] == 0)
    began = time.monotonic()
    assert pod.listener.stop() == 0
    assert time.monotonic() - began < 3
