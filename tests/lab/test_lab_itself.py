# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""The lab without any firewall: every probe passes, and what is taken away fails as it should."""

from __future__ import annotations

import ipaddress
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import udp_security
from udp_security.lab import addresses, reference, rootfs, sandbox
from udp_security.lab.addresses import FAMILIES, Family
from udp_security.lab.errors import LabError
from udp_security.lab.packets import Address
from udp_security.lab.pod import AgentPod
from udp_security.lab.probes import Outcome
from udp_security.lab.topology import Lab
from udp_security.lab.wire import Fate, Wire

PASSED = Outcome(delivered=True, replied=True, unreachable=False)
LOST = Outcome(delivered=False, replied=False, unreachable=False)
INSIDE = ("node", "node2", "pod-a", "pod-b", "pod-c", "dns")


@pytest.fixture
def filtered(lab: Lab) -> Iterator[Lab]:
    """A lab whose nodes' own tables are emptied after the test."""
    yield lab
    for node in addresses.NODES:
        lab.run(node, ["nft", "delete", "table", "inet", "t"], check=False)


def hook(lab: Lab, node: str, where: str, rule: str) -> None:
    """One rule in a table of our own on a node."""
    chain = f"chain {where} {{ type filter hook {where} priority -10;\n{rule}\n}}\n"
    lab.run(node, ["nft", "-f", "-"], stdin=f"table inet t {{\n{chain}}}\n")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("source", addresses.ADDRESSES)
def test_udp_reaches_everybody(lab: Lab, source: str, family: Family) -> None:
    for target in addresses.ADDRESSES:
        assert lab.probe(source, lab.address(target, family), 7000) == PASSED, target


@pytest.mark.parametrize("family", FAMILIES)
def test_tcp_and_ping(lab: Lab, family: Family) -> None:
    for source, target in (("outsider", "node"), ("pod-a", "pod-c"), ("node", "remote")):
        assert lab.tcp(source, lab.address(target, family), 7000) == PASSED
        assert lab.ping(source, lab.address(target, family))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("service", [addresses.ECHO, addresses.ECHO_FAR], ids=lambda s: s.name)
def test_services_and_node_ports(lab: Lab, service: addresses.Service, family: Family) -> None:
    for source in INSIDE:
        assert lab.probe(source, service.address.of(family), service.port) == PASSED, source
    assert service.node_port is not None
    for source in (*INSIDE, "remote", "outsider"):
        for node in addresses.NODES:
            address = lab.address(node, family)
            assert lab.probe(source, address, service.node_port) == PASSED, (source, node)
    assert lab.tcp("outsider", lab.address("node", family), service.node_port) == PASSED


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("source", ["pod-a", "pod-c", "node", "node2"])
def test_cluster_dns(lab: Lab, source: str, family: Family) -> None:
    server = addresses.DNS.address.of(family)
    pod_b = addresses.PODS["pod-b"][1]
    for kind in FAMILIES:
        own = lab.dns_query(source, server, addresses.CLUSTER_NAME, family=kind)
        assert own == [pod_b.of(kind)]
        # Through the cluster's, the node's and the host's server.
        far = lab.dns_query(source, server, addresses.UPSTREAM_NAME, family=kind)
        assert far == [addresses.OUTSIDER.of(kind)]


def test_the_node_serves_dns(lab: Lab) -> None:
    node = addresses.NODES["node"]
    for source, server in (
        ("node", "127.0.0.1"),
        ("node", "::1"),
        ("pod-a", node.bridge.v4),
        ("pod-a", node.bridge.v6),
        ("remote", node.address.v4),
        ("node2", node.address.v6),
    ):
        assert lab.dns_query(source, server, addresses.NODE_NAME) == [node.address.v4]
    assert lab.dns_query("pod-a", "172.20.2.11", addresses.NODE_NAME) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_pods_on_two_nodes_talk_through_vxlan(filtered: Lab, family: Family) -> None:
    address = filtered.address("pod-c", family)
    assert filtered.probe("pod-a", address, 7000) == PASSED
    hook(filtered, "node2", "input", "udp dport 8472 counter drop")
    assert filtered.probe("pod-a", address, 7000) == LOST
    assert "packets 0" not in filtered.run("node2", ["nft", "list", "table", "inet", "t"]).stdout


@pytest.mark.parametrize("family", FAMILIES)
def test_same_node_pods_pass_the_forward_hook(filtered: Lab, family: Family) -> None:
    hook(filtered, "node", "forward", "udp dport 7000 drop")
    assert filtered.probe("pod-a", filtered.address("pod-b", family), 7000) == LOST


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [8, 1300, 4000, 20_000])
def test_large_packets(lab: Lab, family: Family, size: int) -> None:
    for source in ("outsider", "remote", "node", "pod-a", "pod-c"):
        for target in ("node2", "pod-b", "pod-c", "outsider"):
            address = lab.address(target, family)
            assert lab.probe(source, address, 7000, size=size) == PASSED, (source, target)


@pytest.mark.parametrize("family", FAMILIES)
def test_outcomes(filtered: Lab, family: Family) -> None:
    node, outsider = filtered.address("node", family), filtered.address("outsider", family)
    rules = {
        "input": "udp dport 7001 drop\nudp dport 7002 reject",
        "output": "udp sport 7003 drop\nudp dport 7004 drop",
    }
    for where, rule in rules.items():
        hook(filtered, "node", where, rule)
    assert filtered.probe("outsider", node, 7000) == PASSED
    assert filtered.probe("outsider", node, 7001) == LOST
    assert filtered.probe("outsider", node, 7002) == Outcome(False, False, True)
    assert filtered.probe("outsider", node, 7003) == Outcome(True, False, False)
    assert filtered.probe("node", outsider, 7004) == LOST
    one_way = filtered.probe("outsider", node, 7003, reply=False)
    assert one_way == Outcome(True, False, False)


def test_a_probe_chooses_its_source(filtered: Lab) -> None:
    hook(filtered, "node", "input", "udp sport != 53 udp dport 7000 drop")
    node = filtered.address("node")
    assert filtered.probe("outsider", node, 7000) == LOST
    assert filtered.probe("outsider", node, 7000, src_port=53) == PASSED
    hook(filtered, "node", "input", "ip saddr 172.19.1.1 udp dport 7005 drop")
    assert filtered.probe("remote", node, 7005) == LOST
    assert filtered.probe("remote", node, 7005, src_addr=addresses.REMOTE_OUTSIDE.v4) == PASSED


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stream_outlives_changes(filtered: Lab, family: Family) -> None:
    with filtered.stream("outsider", filtered.address("node", family), 7000) as stream:
        with pytest.raises(LabError):
            stream.answer()
        assert stream.send() == PASSED
        assert stream.answer()
        hook(filtered, "node", "input", "udp dport 7000 drop")
        assert stream.send() == LOST
        assert stream.answer()
        hook(filtered, "node", "output", f"udp dport {stream.source_port} drop")
        assert not stream.answer()
        filtered.run("node", ["nft", "delete", "table", "inet", "t"])
        assert stream.send() == PASSED


def test_errors_name_the_remedy(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"(?s)port 53 is taken.*dns_query"):
        lab.probe("pod-a", addresses.NODES["node"].bridge.v4, 53)
    with pytest.raises(LabError, match="no namespace 'pod-x'"):
        lab.ping("pod-x", "10.0.0.1")
    with pytest.raises(LabError, match="nobody in the lab has address"):
        lab.probe("pod-a", "192.0.2.1", 7000)
    with pytest.raises(LabError, match="failed"):
        lab.run("node", ["nft", "list", "table", "inet", "missing"])


def forward_jumps(lab: Lab) -> list[str]:
    return lab.run("node", ["iptables-nft", "-S", "FORWARD"]).stdout.splitlines()[1:]


def test_flannel_restart_and_flush() -> None:
    with Lab() as lab:
        lab.run("node", ["iptables-nft", "-A", "FORWARD", "-p", "udp", "-j", "DROP"])
        drop, flannel = "-A FORWARD -p udp -j DROP", "-A FORWARD -j FLANNEL-FWD"
        assert forward_jumps(lab)[1:] == [flannel, drop]
        lab.flannel_restart()
        assert forward_jumps(lab)[1:] == [drop, flannel]
        lab.iptables_flush()
        assert forward_jumps(lab) == []
        assert lab.probe("pod-a", lab.address("pod-c"), 7000) == PASSED


def test_the_reference_fails_as_measured() -> None:
    with Lab() as lab:
        node, pod_b = lab.address("node"), lab.address("pod-b")
        reference.apply(lab)
        assert lab.probe("outsider", node, 7000) == LOST
        assert lab.probe("outsider", node, 7000, src_port=53) == Outcome(True, True, False)
        assert lab.probe("outsider", lab.address("node", 6), 7000) == PASSED
        assert lab.probe("node", "127.0.0.1", 7000, dst_ns="node") == LOST
        assert lab.probe("pod-a", pod_b, 5000) == PASSED
        assert lab.dns_query("node", "127.0.0.1", addresses.NODE_NAME) is None
        server = addresses.DNS.address.v4
        assert lab.dns_query("pod-a", server, addresses.CLUSTER_NAME) == [pod_b]
        lab.flannel_restart()
        assert lab.dns_query("pod-a", server, addresses.CLUSTER_NAME) is None
        lab.iptables_flush()
        assert lab.probe("outsider", node, 7000) == PASSED


SCRIPT = r"""
case $1 in
run)
    echo "up $POD_UID $NODE $HOST_IP"
    echo $$ >>/run/state/starts
    trap 'echo down; exit 3' TERM
    while :; do sleep 1000 & wait $!; done ;;
check) [ -e /run/state/ready ] ;;
show) cat /etc/agent/word; grep CapEff /proc/self/status; wc -l </run/state/starts; hostname ;;
esac
"""


def manifests(**security: Any) -> list[dict[str, Any]]:
    """A DaemonSet like the agent's, with a trivial agent."""

    def field(name: str, path: str) -> dict[str, Any]:
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}

    agent = ["/bin/sh", "/etc/agent/agent.sh"]
    container = {
        "name": "agent",
        "command": [*agent, "run"],
        "env": [
            field("POD_UID", "metadata.uid"),
            field("NODE", "spec.nodeName"),
            field("HOST_IP", "status.hostIP"),
            {"name": "BOTH", "value": "$(NODE)/$(POD_UID)/$$(NODE)/$(NONE)"},
        ],
        "volumeMounts": [
            {"name": "files", "mountPath": "/etc/agent"},
            {"name": "files", "mountPath": "/etc/frozen", "subPath": "word"},
            {"name": "state", "mountPath": "/run/state"},
        ],
        "readinessProbe": {"exec": {"command": [*agent, "check"]}, "timeoutSeconds": 5},
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            **security,
        },
    }
    volumes = [
        {"name": "files", "configMap": {"name": "config"}},
        {"name": "state", "emptyDir": {}},
    ]
    spec = {"hostNetwork": True, "volumes": volumes, "containers": [container]}
    return [
        {
            "kind": "ConfigMap",
            "metadata": {"name": "config"},
            "data": {"agent.sh": SCRIPT, "word": "one\n"},
        },
        {
            "kind": "DaemonSet",
            "metadata": {"name": "agent", "namespace": "somewhere"},
            "spec": {"template": {"spec": spec}},
        },
    ]


def test_a_pod_is_what_its_template_says(lab: Lab) -> None:
    with AgentPod(lab, "node", manifests(), uid="some-uid") as pod:
        assert pod.run(["cat", "/proc/1/cmdline"]).stdout.split("\0")[:3] == [
            "/bin/sh",
            "/etc/agent/agent.sh",
            "run",
        ]
        shown = pod.exec("show").stdout.splitlines()
        assert shown == ["one", "CapEff:\t0000000000001000", "1", "node"]
        environment = pod.run(["env"]).stdout.splitlines()
        assert "BOTH=node/some-uid/$(NODE)/$(NONE)" in environment
        assert not [line for line in environment if line.startswith("PYTHON")]
        for path in ("/x", "/etc/x", "/tmp/x", "/usr/x", "/etc/agent/x", "/proc/sys/net/x"):
            assert pod.run(["touch", path]).returncode != 0, path
        assert "172.19.1.100" in pod.run(["/sbin/ip", "-brief", "address"]).stdout
        assert pod.run(["nft", "add", "table", "inet", "t"]).returncode == 0
        assert "inet t" in lab.run("node", ["nft", "list", "tables"]).stdout
        lab.run("node", ["nft", "delete", "table", "inet", "t"])
        assert pod.run(["iptables", "-S", "FORWARD"]).stdout.startswith("-P FORWARD")
        assert not Path(f"/proc/{pod.pid}/root{__file__}").exists()
        assert pod.logs() == "up some-uid node 172.19.1.100\n"


def test_a_pods_life(lab: Lab) -> None:
    pod = AgentPod(lab, "node2", manifests())
    assert not pod.ready()
    pod.start()
    assert pod.exec("check").returncode == 1
    with pytest.raises(LabError, match="not ready after"):
        pod.wait_ready(timeout=0.2)
    pod.run(["touch", "/run/state/ready"])
    pod.wait_ready()

    pod.update_configmap({"agent.sh": SCRIPT, "word": "two\n"})
    assert pod.run(["cat", "/etc/agent/word", "/etc/frozen"]).stdout == "two\none\n"
    first = pod.pid
    pod.restart_container()
    assert pod.pid != first
    assert not Path(f"/proc/{first}").exists()
    assert pod.run(["cat", "/etc/agent/word", "/etc/frozen"]).stdout == "two\ntwo\n"
    assert pod.exec("show").stdout.splitlines()[2] == "2"
    assert pod.ready()

    assert pod.stop() == 3
    assert pod.logs().splitlines()[-1] == "down"
    assert not pod.ready()
    with pytest.raises(LabError, match="does not run"):
        pod.exec("check")
    pod.start()
    pod.kill()
    assert pod.exit_code == 137
    pod.delete()
    pod.delete()


def test_a_stubborn_container_is_killed(lab: Lab) -> None:
    documents = manifests()
    documents[0]["data"]["agent.sh"] = "trap : TERM; while :; do sleep 1000 & wait $!; done"
    with AgentPod(lab, "node", documents) as pod:
        started = time.monotonic()
        assert pod.stop(grace=0.2) == 137
        assert time.monotonic() - started < 5


def test_two_pods_share_a_node(lab: Lab) -> None:
    with AgentPod(lab, "node", manifests()) as old, AgentPod(lab, "node", manifests()) as new:
        assert old.uid != new.uid
        assert old.exec("show").stdout.splitlines()[2] == "1"
        old.kill()
        assert new.exec("show").returncode == 0


def test_rights_follow_the_security_context(lab: Lab) -> None:
    with AgentPod(lab, "node", manifests(readOnlyRootFilesystem=False)) as pod:
        assert pod.run(["touch", "/etc/x", "/usr/x"]).returncode == 0
    assert not (rootfs.build() / "usr/x").exists()
    with AgentPod(lab, "node", manifests(capabilities={"drop": ["ALL"]})) as pod:
        assert "Operation not permitted" in pod.run(["nft", "list", "ruleset"]).stderr
    if not sandbox.rootless():
        with AgentPod(lab, "node", manifests(runAsUser=1000)) as pod:
            assert pod.run(["id", "-u"]).stdout == "1000\n"
            assert "CapEff:\t0000000000000000" in pod.run(["cat", "/proc/self/status"]).stdout


def test_what_a_pod_cannot_be(lab: Lab) -> None:
    documents = manifests()
    documents[1]["spec"]["template"]["spec"]["volumes"][1] = {"name": "state", "hostPath": {}}
    with pytest.raises(LabError, match="does not imitate hostPath"):
        AgentPod(lab, "node", documents)
    documents = manifests()
    documents[1]["spec"]["template"]["spec"]["containers"][0]["command"] = ["/bin/missing"]
    pod = AgentPod(lab, "node", documents)
    with pytest.raises(LabError, match="No such file"):
        pod.start()
    with pytest.raises(LabError, match="0 DaemonSets"):
        AgentPod(lab, "node", [])


def test_only_alpines_applets_are_there(lab: Lab) -> None:
    with AgentPod(lab, "node", manifests()) as pod:
        links = pod.run(["find", "/usr/bin", "-type", "l"]).stdout.split()
    names = {Path(link).name for link in links}
    assert {"sh", "awk", "sha256sum", "[", "timeout"} <= names
    assert names <= set(rootfs.applets())


@dataclass(frozen=True)
class Flow:
    """As policy.Flow."""

    direction: str
    source: Address
    destination: Address
    port: int


def test_a_wire_carries_any_address(wire: Wire) -> None:
    numbers = random.Random(7)
    flows = []
    for direction in ("ingress", "egress", "forward"):
        for _ in range(300):
            for version in FAMILIES:
                bits = 32 if version == 4 else 128
                kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
                source, destination = (kind(numbers.getrandbits(bits)) for _ in range(2))
                flow = Flow(direction, source, destination, numbers.randint(1, 65_535))
                if wire.carries(flow):
                    flows.append(flow)
    assert len(flows) > 1500
    answered = [not flow.destination.is_multicast for flow in flows]
    assert wire.send(flows, replies=True) == [Fate(True, answer) for answer in answered]
    rules = "".join(
        f"chain {hook} {{ type filter hook {hook} priority -10;"
        " meta l4proto udp ct reply proto-src < 30000 drop; }\n"
        for hook in ("input", "output", "forward")
    )
    wire.run(["nft", "-f", "-"], stdin=f"table inet t {{\n{rules}}}\n")
    started = time.monotonic()
    fates = wire.send(flows, replies=True)
    assert len(flows) / (time.monotonic() - started) > 200
    allowed = [flow.port >= 30_000 for flow in flows]
    assert fates == [Fate(a, a and b) for a, b in zip(allowed, answered, strict=True)]
    wire.run(["nft", "delete", "table", "inet", "t"])


@pytest.mark.parametrize(
    "flow",
    [
        ("ingress", "10.0.0.1", "255.255.255.255", True),
        ("egress", "10.0.0.1", "255.255.255.255", True),
        ("ingress", "fe80::1", "ff02::1:2", True),
        ("egress", "fe80::1", "ff02::1:2", True),
        ("ingress", "fe80::1", "fe80::2", True),
        ("egress", "fe80::1", "fe80::2", True),
        ("forward", "240.0.0.1", "10.0.0.1", True),
        ("forward", "fe80::1", "fd00::1", False),
        ("ingress", "127.0.0.1", "10.0.0.1", False),
        ("ingress", "10.0.0.1", "0.0.0.0", False),
        ("ingress", "10.0.0.1", "224.0.0.1", False),
        ("egress", "10.0.0.1", "fd00::1", False),
    ],
)
def test_special_addresses_on_a_wire(wire: Wire, flow: tuple[str, str, str, bool]) -> None:
    direction, source, destination, carried = flow
    sent = Flow(direction, ipaddress.ip_address(source), ipaddress.ip_address(destination), 547)
    assert wire.carries(sent) is carried
    if carried:
        assert wire.send([sent])[0].delivered
    else:
        with pytest.raises(LabError, match="does not carry"):
            wire.send([sent])


def script(marker: str, end: str) -> str:
    """A program that builds a lab with a running pod and then ends somehow."""
    body = f"""
    from pathlib import Path
    from udp_security.lab import sandbox
    from udp_security.lab.pod import AgentPod
    from udp_security.lab.topology import Lab
    with Lab() as lab:
        pod = AgentPod(lab, "node", {manifests()!r}, uid={marker!r})
        pod.start()
        assert pod.exec("show").stdout.startswith("one"), pod.logs()
        for family in (4, 6):
            for source, target in (("pod-a", "pod-c"), ("outsider", "node"), ("node2", "dns")):
                assert lab.probe(source, lab.address(target, family), 7000).replied
        assert lab.dns_query("pod-c", "172.21.0.10", "outsider.example") == ["10.77.0.2"]
        assert lab.tcp("outsider", "172.19.1.101", 30053).replied
        lab.run("node", ["nft", "add", "table", "inet", "t"])
        print("built", sandbox.rootless(), flush=True)
        {end}
    assert not list(Path("/run/netns").iterdir())
    print("gone", flush=True)
    """
    return textwrap.dedent(body)


def processes(marker: str) -> list[str]:
    """Command lines of living processes that carry a marker in their command or environment."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit() and int(directory.name) != os.getpid():
            try:
                text = (directory / "cmdline").read_bytes() + (directory / "environ").read_bytes()
            except OSError:
                continue
            if marker.encode() in text:
                found.append((directory / "cmdline").read_bytes().decode(errors="replace"))
    return found


def test_nothing_is_left_behind() -> None:
    marker = f"lab-test-{uuid.uuid4()}"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(udp_security.__file__).parent.parent),
        "MARKER": marker,
    }
    command = [sys.executable, "-c"]
    done = subprocess.run(
        [*command, script(marker, "pass")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "gone", done.stderr
    assert processes(marker) == []
    for number in (signal.SIGINT, signal.SIGKILL):
        with subprocess.Popen(
            [*command, script(marker, "import time; time.sleep(1000)")],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline().startswith("built")
            assert len(processes(marker)) > 3
            running.send_signal(number)
            running.wait()
        deadline = time.monotonic() + 3
        while processes(marker) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert processes(marker) == []


def test_without_root() -> None:
    """As somebody without rights: directly when that is us, else as nobody."""
    if sandbox.rootless():
        pytest.skip("this run is rootless itself: every test here proves it")
    marker = f"lab-test-{uuid.uuid4()}"
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    pythons = [sys.executable, os.path.realpath(sys.executable), "/usr/bin/python3"]
    usable = [
        python
        for python in pythons
        if subprocess.run([*nobody, "test", "-x", python], check=False).returncode == 0
    ]
    assert usable, f"nobody may run none of {pythons}"
    with tempfile.TemporaryDirectory() as folder:
        readable = Path(folder)
        readable.chmod(0o755)
        package = Path(udp_security.__file__).parent
        shutil.copytree(package / "lab", readable / "udp_security" / "lab")
        (readable / "udp_security" / "__init__.py").touch()
        done = subprocess.run(
            [*nobody, usable[0], "-c", script(marker, "pass")],
            env={"PYTHONPATH": folder, "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.splitlines() == ["built True", "gone"], done.stderr
    assert processes(marker) == []


def test_entering_twice_changes_nothing() -> None:
    before = os.readlink("/proc/self/ns/net")
    sandbox.enter()
    assert sandbox.entered()
    assert os.readlink("/proc/self/ns/net") == before
