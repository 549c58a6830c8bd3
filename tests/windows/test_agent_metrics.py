# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`Metrics`, the file that `Run` leaves, `Serve` that hands it out, the rule that lets one ask."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import yaml
from tests import strategies
from tests.cli.conftest import Run
from tests.windows.agents import ANOTHER_POLICY, Node, policy
from tests.windows.pod import Pod
from tests.windows.policies import policy_json

from udp_security.policy.model import Address
from udp_security.windows import pwsh as powershell
from udp_security.windows.compiler import Compiler
from udp_security.windows.firewall import Firewall

PORT: Final = 9797
METRICS: Final = {"enabled": True, "port": PORT}
POLICY: Final = policy(metrics=METRICS)
_SAMPLE: Final = re.compile(r"(?P<name>[a-z_]+)(?P<labels>\{.*\})? (?P<value>\d+(\.\d+)?)")


def samples(text: str) -> dict[str, str]:
    """The value of each metric, with its labels; each has its own help and type before it."""
    found: dict[str, str] = {}
    lines = text.splitlines()
    assert text.endswith("\n") and len(lines) % 3 == 0, text
    for about, kind, sample in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        match = _SAMPLE.fullmatch(sample)
        assert match, sample
        name = match["name"]
        assert about.startswith(f"# HELP {name} ") and len(about) > len(name) + 20, about
        assert kind == f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"
        assert name not in {key.partition("{")[0] for key in found}
        found[name + (match["labels"] or "")] = match["value"]
    return found


def left(pod: Pod) -> str | None:
    """What Run has left to be handed out."""
    try:
        return (pod.state / "metrics.prom").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(pod: Pod) -> Iterator[Path]:
    """Runs the pod's second container, on loopback, for as long as the ``with`` lasts; its log."""
    log = pod.root / "serve-log"
    variables = pod.windows.variables({**pod.environment, "UDP_SECURITY_NODE_IP": "127.0.0.1"})
    script = str(pod.config / "Agent.ps1")
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [powershell.find(), "-NoProfile", "-File", script, "-Command", "Serve"],
            env=powershell.environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield log
        finally:
            process.kill()


def wait_event(pod: Pod, log: Path, event: str) -> None:
    pod.wait_for(lambda: f" event={event} " in log.read_text(), f"event {event}")


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ask(port: int, request: str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> tuple[str, str]:
    """The status and the body of the answer; both empty when there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    if not answer:
        return "", ""
    head, _, body = answer.partition("\r\n\r\n")
    status, *fields = head.split("\r\n")
    headers = dict(field.split(": ") for field in fields)
    assert headers["Content-Length"] == str(len(body.encode()))
    assert headers["Connection"] == "close"
    assert headers["Content-Type"] == "text/plain; version=0.0.4"
    assert (headers.get("Allow") == "GET") == (" 405 " in status)
    assert status.startswith("HTTP/1.1 ")
    return status.split(" ", 2)[1], body


def test_one_rule_lets_prometheus_in(pwsh: str) -> None:
    """From the cluster's pods and nodes, in audit mode as well; nothing else becomes other."""
    with Compiler() as compiler:
        with_it, without = compiler(POLICY), compiler(policy())
        audit = compiler(policy(metrics=METRICS, mode="audit"))
    assert [rule for rule in with_it if rule.protocol == "UDP"] == without
    (rule,) = audit
    assert [rule] == [rule for rule in with_it if rule.protocol != "UDP"]
    assert (rule.protocol, rule.direction, rule.action) == ("TCP", "Inbound", "Allow")

    firewall = Firewall(with_it)

    def passes(source: Address | str, port: int = PORT) -> bool:
        return firewall.admits("ingress", source, "172.19.1.1", port, protocol="TCP").allowed

    assert passes("172.20.9.9") and passes("172.19.1.254") and passes("fd00:1::9")
    # Neither a service nor anybody outside asks for metrics.
    assert not passes("172.21.0.1") and not passes("10.0.0.1") and not passes("fd00:2::")
    assert not passes("172.20.9.9", PORT - 1) and not passes("172.20.9.9", PORT + 1)


def test_what_the_chart_makes_of_it(run: Run, tmp_path: Path) -> None:
    values = {"metrics": {**METRICS, "prometheusOperator": False}}
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    done = run("render", "-f", str(file))
    assert done.exit_code == 0, done.output
    objects = {
        doc["kind"]: doc
        for doc in yaml.load_all(done.stdout, yaml.CSafeLoader)
        if doc["metadata"]["name"] == "udp-security-windows"
    }
    given = json.loads(objects["ConfigMap"]["data"]["policy.json"])
    assert given == policy_json(strategies.merged(values), given["version"])

    pod = objects["DaemonSet"]["spec"]["template"]["spec"]
    agent, metrics = pod["containers"]
    assert (metrics["image"], metrics["env"]) == (agent["image"], agent["env"])
    assert {"name": "UDP_SECURITY_METRICS_PORT", "value": f"{PORT}"} in metrics["env"]
    assert metrics["command"] == [*agent["command"][:-1], "Serve"]
    # It can change nothing, and two pods of a rollout fit on one node.
    account = metrics["securityContext"]["windowsOptions"]["runAsUserName"]
    assert account == r"NT AUTHORITY\Local service"
    assert all(mount["readOnly"] for mount in metrics["volumeMounts"])
    assert not any("ports" in container for container in pod["containers"])


def test_looks_and_what_they_leave(node: Node) -> None:
    """A refused policy is told as long as nobody else speaks for the node."""
    refused = policy(metrics=METRICS, cluster={"nodeCIDRs": ["192.0.2.0/24"]})
    closed = node.pod(refused, metrics_port=PORT, poll_seconds=1)
    closed.start()
    closed.wait_for(lambda: left(closed) is not None, "metrics")
    found = samples(left(closed) or "")
    assert found["udp_security_enforced"] == "0"
    assert not any("appl" in name for name in found)

    pod = node.start(POLICY, metrics_port=PORT, poll_seconds=1)
    closed.wait_for(lambda: left(closed) is None, "no metrics beside an owner")
    closed.kill()
    node.windows.delete(node.rules()[0]["Name"])
    pod.wait_for(lambda: "heals_total 1" in (left(pod) or ""), "metrics of the heal")

    generation = pod.environment["UDP_SECURITY_POLICY_SHA256"][:12]
    info = (
        'udp_security_info{os="windows",backend="windows-firewall",mode="enforce",scope="cluster",'
        f'generation="{generation}",version="0.0.0"}}'
    )
    asked = pod.command("Metrics")
    assert asked.returncode == 0 and not asked.stderr
    now = time.time()
    for text in (left(pod) or "", asked.stdout):
        found = samples(text)
        applied = float(found.pop("udp_security_applied_timestamp_seconds"))
        looked = float(found.pop("udp_security_last_look_timestamp_seconds"))
        assert now - 300 < applied <= looked <= now + 1
        assert 0 < float(found.pop("udp_security_apply_seconds")) < 60
        assert found == {
            info: "1",
            "udp_security_enforced": "1",
            "udp_security_heals_total": "1",
        }
    # As its preStop hook asks it to.
    (pod.state / "stopping").touch()
    pod.wait_for(lambda: left(pod) is None, "no metrics of a pod that ends")

    node.windows.stop("mpssvc")
    assert samples(pod.command("Metrics").stdout)["udp_security_enforced"] == "0"
    told = pod.command("Denials")
    assert told.returncode == 0 and not told.stderr
    assert json.loads(told.stdout) == {
        "schemaVersion": 1,
        "os": "windows",
        "node": "winnode",
        "mode": "enforce",
        "deniedFlows": None,
        "deniedPorts": None,
    }


def test_serving(node: Node) -> None:
    """Requests of all kinds, a dead agent, a newer pod whose turn it is."""
    port = free_port()
    old, new = node.pod(metrics_port=port), node.pod(metrics_port=port)
    ours, theirs = old.state / "metrics.prom", new.state / "metrics.prom"
    for pod in (old, new):
        pod.adopt()
    with serving(old) as old_log, serving(new) as new_log:
        ours.write_text("old 1\n", encoding="utf-8")
        wait_event(old, old_log, "serving")
        assert ask(port) == ("200", "old 1\n")
        for request, status in {
            "GET /metrics?a=b HTTP/1.0\n\n": "200",
            "GET /metrics/ HTTP/1.1\r\n\r\n": "404",
            "GET / HTTP/1.1\r\n\r\n": "404",
            "HEAD /metrics HTTP/1.1\r\n\r\n": "405",
            "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n": "405",
            "nonsense\r\n\r\n": "405",
            # A body that is there when the answer is sent.
            f"POST /metrics HTTP/1.1\r\n\r\n{'x' * 20_000}": "405",
            # Half a request, and one without an end.
            "GET /metrics HTTP/1.1\r\n": "",
            f"GET /metrics HTTP/1.1\r\nx: {'x' * 8166}": "",
        }.items():
            assert ask(port, request)[0] == status, request

        # Three polls of 60 seconds, and 60 seconds.
        for age, status in {230: "200", 250: "503", -3600: "503"}.items():
            past = time.time() - age
            os.utime(ours, (past, past))
            code, body = ask(port)
            assert code == status
        assert body == "no fresh metrics from the agent (see its log)\n"

        theirs.write_text("new 1\n", encoding="utf-8")
        wait_event(new, new_log, "not-serving")
        ours.unlink()
        wait_event(new, new_log, "serving")
        assert ask(port) == ("200", "new 1\n")
        theirs.unlink()
        new.wait_for(lambda: not listening(port), "nobody listens")
        # Whatever was asked, and however often the port was in use.
        assert [log.read_text().count("\n") for log in (old_log, new_log)] == [1, 2]


def test_serving_without_an_address(node: Node) -> None:
    pod = node.pod(ANOTHER_POLICY, node_ip="", metrics_port=PORT)
    pod.adopt()
    done = pod.command("Serve")
    assert done.returncode == 2
    assert " event=bad-environment " in done.stdout
