# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security denials`: all nodes' denials in one table, whatever some of them say.

    UPDATE_GOLDEN=1 make test ARGS=tests/cluster/test_denials.py

writes the files in golden/ anew; then read the diff.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests import golden
from tests.cluster.cluster import Cluster, running
from tests.cluster.conftest import LISTENING
from tests.cluster.node import FakeNode, Reply

from udp_security.cli.denials import denials
from udp_security.cli.main import cli
from udp_security.cluster import following, rollout
from udp_security.cluster.client import Client
from udp_security.cluster.following import Growth, follow
from udp_security.policy.denied import as_json, from_agent, from_json

GOLDEN = Path(__file__).parent / "golden"
PATIENCE = 30.0  # seconds
FULL = 1024
# How the agent of an earlier version answers.
USAGE = Reply(2, error="usage: agent.sh run|check|status|remove")


@pytest.fixture(scope="module")
def enabled(
    helm: str, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("fleet")
    with running(folder, certificate) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        patch.setenv("HOME", str(folder))
        patch.setattr(rollout, "_POLL", 0.05)
        patch.setattr(rollout, "_SETTLING", 0.3)
        done = CliRunner().invoke(cli, ["enable", "--mode", "audit"])
        assert done.exit_code == 0, done.output
        _furnish(cluster)
        yield cluster


@pytest.fixture
def fleet(enabled: Cluster) -> Iterator[Cluster]:
    """Two Linux nodes and a Windows node, with the addon in mode audit, and somebody's pods.

    One for all tests: how nodes answer is undone after each, and nothing else may be changed.
    """
    yield enabled
    enabled.server.forbidden.clear()
    for node in enabled.nodes.values():
        plain = FakeNode(node.name, node.address, node.pod_cidr)
        for name in ("flows", "ports", "prints", "silent"):
            setattr(node, name, getattr(plain, name))


def _furnish(cluster: Cluster) -> None:
    cluster.store.create("namespaces", "", {"metadata": {"name": "ward"}})
    for name, node, address in (
        ("gateway-0", "linux-a", "10.244.1.7"),
        ("monitor-0", "linux-b", "10.244.2.9"),
    ):
        status = {"phase": "Running", "podIPs": [{"ip": address}]}
        pod = {"metadata": {"name": name}, "spec": {"nodeName": node}, "status": status}
        cluster.store.create("pods", "ward", pod)
    service = {"metadata": {"name": "alarms"}, "spec": {"clusterIPs": ["10.96.0.77"]}}
    cluster.store.create("services", "ward", service)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(denials, arguments)


def flow(
    source: str,
    destination: str,
    port: int,
    packets: int,
    ago: int,
    direction: str = "forward",
) -> dict[str, Any]:
    """As an agent prints it."""
    return {
        **aggregate(port, packets, ago, direction),
        "source": source,
        "destination": destination,
    }


def aggregate(port: int, packets: int, ago: int, direction: str = "forward") -> dict[str, Any]:
    return {
        "direction": direction,
        "port": port,
        "packets": packets,
        "bytes": 60 * packets,
        "ago": ago,
    }


def says(node: FakeNode, mode: str | None, *flows: Mapping[str, Any]) -> None:
    """The node's agent tells these denials, and what is told of the ports."""
    ports = [{key: f[key] for key in aggregate(0, 0, 0)} for f in flows]
    said = {"schemaVersion": 1, "os": "linux", "node": node.name, "mode": mode}
    text = json.dumps({**said, "deniedFlows": flows, "deniedPorts": ports})
    node.prints = {"denials": Reply(0, text)}


def flood(direction: str = "ingress", count: int = FULL) -> list[dict[str, Any]]:
    """Flows of so many sources."""
    return [
        flow(f"198.18.{n >> 8}.{n & 255}", "10.9.0.1", 514, 1, 600 + n, direction)
        for n in range(count)
    ]


def compare(name: str, text: str) -> None:
    golden.compare(GOLDEN / name, re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text))


def printed(done: Result) -> str:
    return f"exit status {done.exit_code}\n{done.stderr}{done.stdout}"


def _is_ready(cluster: Cluster, node: str) -> bool:
    (condition,) = cluster.store.get("nodes", "", node)["status"]["conditions"]
    return bool(condition["status"] == "True")


# --- What is shown --------------------------------------------------------------------------------

BOTH = (
    flow("10.244.1.7", "10.244.2.9", 514, 12, 330),
    flow("10.9.0.1", "10.244.1.7", 9100, 5, 1210, "egress"),
    flow("fd00:19::7", "fd00:19::1", 5353, 1, 3530, "ingress"),
)


def ward(fleet: Cluster, *modes: str) -> None:
    """What both Linux nodes tell: one flow is on both."""
    a, b = (fleet.nodes[name] for name in ("linux-a", "linux-b"))
    says(a, modes[0], *BOTH)
    says(b, modes[-1], flow("10.244.1.7", "10.244.2.9", 514, 30, 210))


def test_a_table(fleet: Cluster) -> None:
    ward(fleet, "enforce")
    compare("denials.txt", printed(run()))


def test_audit_says_would(fleet: Cluster) -> None:
    ward(fleet, "audit")
    assert run().stdout.startswith(
        "Would be denied, but pass now (mode audit); seen in the last hour:\n"
    )
    ward(fleet, "enforce", "audit")
    first, *_ = run().stdout.splitlines()
    assert first == "Denied in the last hour (but pass now on linux-b: mode audit):"


def test_as_json(fleet: Cluster) -> None:
    ward(fleet, "enforce", "audit")
    done = run("-o", "json", "--limit", "1", "--since", "1h")
    compare("denials.json", done.stdout)
    answer = json.loads(done.stdout)
    assert [from_json(item).packets for item in answer["flows"]] == [42, 5, 1]


def test_only_the_most(fleet: Cluster) -> None:
    ward(fleet, "enforce")
    lines = run("--limit", "1").stdout.splitlines()
    assert len(lines) == 4
    assert lines[-1] == "and 2 more (-o json shows all)"
    assert run("--limit", "3").stdout == run().stdout


def test_nothing_denied(fleet: Cluster) -> None:
    done = run()
    assert done.exit_code == 0
    assert done.stdout == "Nothing was denied in the last hour (2 of 3 nodes tell).\n"


@pytest.mark.parametrize(
    ("since", "ports"),
    [("329s", []), ("330s", [514]), ("6m", [514]), ("20m9s", [514]), ("20m10s", [514, 9100]),
     ("2h", [514, 9100, 5353])],
)  # fmt: skip
def test_since(fleet: Cluster, since: str, ports: list[int]) -> None:
    """The edge is what the agent said; the time that the rest takes does not count."""
    says(fleet.nodes["linux-a"], "enforce", *BOTH)
    answer = json.loads(run("--since", since, "-o", "json").stdout)
    assert [item["port"] for item in answer["flows"]] == ports
    assert [item["port"] for item in answer["ports"]] == ports


def test_since_in_words(fleet: Cluster) -> None:
    says(fleet.nodes["linux-a"], "enforce", *BOTH)
    assert run("--since", "60m").stdout.startswith("Denied in the last 1h:\n")
    done = run("--since", "90m")
    assert done.stdout.startswith("Denied in the last hour:\n")
    assert "Note: nodes remember denials for an hour, not for 1h30m\n" in done.stderr
    assert run("--since", "75s").stdout.startswith("Nothing was denied in the last 1m15s ")
    for wrong in ("", "10", "m", "0s", "1d", "-5m", "10 m", "9999999h", "5m1h"):
        done = run("--since", wrong)
        assert done.exit_code == 2
        assert "is not a time (write it as in 90s, 10m or 1h30m)" in done.stderr


def test_a_full_list_shows_ports_as_well(fleet: Cluster) -> None:
    a, b = (fleet.nodes[name] for name in ("linux-a", "linux-b"))
    says(a, "enforce", *flood(), *BOTH)
    says(b, "enforce", *flood("egress", FULL - 1))
    done = run("--limit", "2")
    compare("denials_full.txt", printed(done))
    nodes = {node["node"]: node for node in json.loads(run("-o", "json").stdout)["nodes"]}
    assert nodes["linux-a"]["available"] and "ingress (IPv4)" in nodes["linux-a"]["reason"]
    assert nodes["linux-b"]["reason"] is None


# --- Nodes and rights that are missing ------------------------------------------------------------


def test_an_older_agent(fleet: Cluster) -> None:
    """It does not know the command, and its status not when."""
    old = flow("10.244.1.7", "10.244.2.9", 514, 12, 0)
    del old["ago"]
    node = fleet.nodes["linux-a"]
    node.flows, node.ports = [old], []
    node.prints = {"denials": USAGE}
    compare("denials_older.txt", printed(run()))
    done = run("--since", "30m")
    assert done.stdout.startswith("Nothing was denied in the last 30m ")
    assert "so none with --since" in done.stderr


def test_slow_silent_and_dead_nodes_hold_nobody_up(cluster: Cluster) -> None:
    for number in range(10, 40):
        node = cluster.add(f"linux-{number}", number, slow=0.5)
        says(node, "enforce", flow("10.0.0.7", "10.8.0.1", 514, 1, 400, "ingress"))
    CliRunner().invoke(cli, ["enable"])
    cluster.nodes["linux-10"].silent = True
    cluster.nodes["linux-11"].gone = True
    cluster.nodes["linux-a"].ready = False
    cluster.wait_until(lambda: not _is_ready(cluster, "linux-a"))
    began = time.monotonic()
    done = run("--timeout", "3")
    # One after another, the others alone would take 15 s.
    assert time.monotonic() - began < 12
    assert done.exit_code == 1
    notes = done.stderr.splitlines()
    assert "Note: linux-10: the agent does not answer: no answer within 3 s" in notes
    assert any(n.startswith("Note: linux-11: the agent does not answer: ") for n in notes)
    *_, row = done.stdout.splitlines()
    assert re.split(r"  +", row)[4] == "28"
    assert row.endswith("linux-12, linux-13, linux-14, linux-15, linux-16 and 23 more")


ESCAPE = "\x1b[2J\x1b]0;owned\x07\x9b31m"
OPEN = '{"mode": null, "deniedPorts": [], "deniedFlows": '


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        "null",
        "{}",
        ESCAPE,
        "[" * 100_000,
        f"{OPEN}{'9' * 5000}}}",
        f'{OPEN}[{{"port": {"9" * 5000}}}]}}',
        f"{OPEN}[NaN]}}",
        f"{OPEN}{json.dumps([flow('10.0.0.7', f'fe80::1%{ESCAPE}', 1, 1, 1)])}}}",
        f"{OPEN}{json.dumps([flow('10.0.0.7', '10.0.0.8', 1, 1, 1, ESCAPE)])}}}",
        f"{OPEN}{json.dumps([flow('10.0.0.7', '10.0.0.8', 1, 1 << 70, 1)])}}}",
        f"{OPEN}{json.dumps([flow('10.0.0.7', '10.0.0.8', 1, 1, 10**30)])}}}",
        OPEN.replace("null", json.dumps(ESCAPE)) + "[]}",
        "\ud800\x00",
    ],
    ids=range(16),
)
def test_what_a_node_makes_up(fleet: Cluster, text: str) -> None:
    """It neither reaches the terminal nor ends the command; other nodes are shown."""
    says(fleet.nodes["linux-a"], "enforce", *BOTH)
    printable = text.encode("utf-8", "replace").decode()
    fleet.nodes["linux-b"].prints = {"denials": Reply(0, printable)}
    done = run()
    assert done.exit_code == 1
    assert not isinstance(done.exception, Exception)
    assert done.stderr.startswith("Note: linux-b: the agent's answer is not what it should be: ")
    assert len(done.stdout.splitlines()) == 5
    assert all(line.isprintable() for line in done.output.splitlines())


def test_a_node_says_nonsense_instead_of_an_answer(fleet: Cluster) -> None:
    fleet.nodes["linux-b"].prints = {"denials": Reply(1, error=f"{ESCAPE}\n" * 1000)}
    done = run()
    assert done.exit_code == 1
    assert "linux-b: the agent does not answer: ?" in done.stderr
    assert all(line.isprintable() and len(line) < 700 for line in done.output.splitlines())


def test_more_than_any_node_has_to_tell(fleet: Cluster) -> None:
    fleet.nodes["linux-b"].prints = {"denials": Reply(0, "x" * (17 << 20))}
    done = run()
    assert done.exit_code == 1
    assert "linux-b: the agent does not answer: the command printed more than" in done.stderr


def test_the_backend_iptables(fleet: Cluster) -> None:
    said = {"schemaVersion": 1, "os": "linux", "node": "linux-b", "mode": "enforce"}
    text = json.dumps({**said, "deniedFlows": None, "deniedPorts": None})
    for name in ("linux-a", "linux-b"):
        fleet.nodes[name].prints = {"denials": Reply(0, text)}
    done = run()
    assert done.exit_code == 0
    assert "Note: linux-a, linux-b: not available with the backend iptables\n" in done.stderr
    assert done.stdout == "No node tells what it denied.\n"


def test_without_the_right_to_list_services(fleet: Cluster) -> None:
    ward(fleet, "enforce")
    fleet.server.forbidden.add(("GET", "services"))
    done = run()
    assert done.exit_code == 0
    assert "Note: addresses of services are without names: " in done.stderr
    assert "10.244.1.7 pod ward/gateway-0" in done.stdout


def test_not_enabled(fleet: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udp_security.cluster.agents.OURS", "app.kubernetes.io/instance=other")
    done = run()
    assert done.exit_code == 1
    assert "udp-security is not enabled in this cluster" in done.stderr
    assert not done.stdout


def test_no_access(fleet: Cluster) -> None:
    for arguments in (["--context", "stranger"], ["--context", "stranger", "--follow"]):
        done = run(*arguments)
        assert done.exit_code == 2
        assert "refuses: Unauthorized" in done.stderr


# --- As they come ---------------------------------------------------------------------------------


def test_what_comes_and_goes(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """New and growing flows, once each; nodes that fail and return, once each."""
    monkeypatch.setattr(following, "_POLL", 0.1)
    CliRunner().invoke(cli, ["enable"])
    _furnish(cluster)
    a, b = (cluster.nodes[name] for name in ("linux-a", "linux-b"))
    pods = "pod ward/gateway-0", "pod ward/monitor-0"
    one, other = ("10.244.1.7", "10.244.2.9", 514), ("10.0.0.7", "10.9.0.1", 69)

    async def story() -> None:
        async with Client(None, None) as client, aclosing(follow(client, 5, None)) as polls:
            says(a, "audit", flow(*one, 7, 100))
            assert await until(polls, 1) == ["windows-a: not available on Windows"]
            says(a, "audit", flow(*one, 9, 0), flow(*other, 1, 1))
            assert await until(polls, 2) == [
                (69, 1, 1, None, "node linux-a"),
                (514, 2, 9, *pods),
            ]
            b.prints = {"denials": Reply(1, error="no")}
            assert await until(polls, 1) == ["linux-b: the agent does not answer: no"]
            says(a, "audit", flow(*one, 10, 0), flow(*other, 1, 1))
            assert await until(polls, 1) == [(514, 1, 10, *pods)]
            b.prints = {}
            assert await until(polls, 1) == ["linux-b: answers again"]
            cluster.server.forbidden.add(("GET", "nodes"))
            (lost,) = await until(polls, 1)
            assert isinstance(lost, str) and lost.endswith("; it is tried again")
            cluster.server.forbidden.clear()
            assert await until(polls, 1) == ["the cluster can be asked again"]
            says(b, "audit", *flood())
            events = await until(polls, FULL + 1)
            assert "the list of flows is full" in str(events[0])
            assert [growth[:3] for growth in events[1:]] == [(514, 1, 1)] * FULL
            del cluster.nodes["linux-b"]
            assert await until(polls, 1) == ["linux-b: no longer in the cluster"]

    asyncio.run(asyncio.wait_for(story(), PATIENCE))


def test_a_silent_node_holds_up_no_other(fleet: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_POLL", 0.1)
    fleet.nodes["linux-b"].silent = True
    before = len(fleet.server.commands)

    async def story() -> None:
        async with Client(None, None) as client, aclosing(follow(client, 100, None)) as polls:
            await until(polls, 1)
            for packets in (1, 2, 3):
                says(fleet.nodes["linux-a"], None, flow("10.0.0.7", "10.9.0.1", 69, packets, 0))
                assert await until(polls, 1) == [(69, 1, packets, None, "node linux-a")]

    asyncio.run(asyncio.wait_for(story(), PATIENCE))
    # Nobody answered, so it was not asked again.
    asked = [name for name, _ in fleet.server.commands[before:]]
    assert asked.count("linux-b") == 1


async def until(polls: AsyncGenerator[list[Growth | str], None], count: int) -> Sequence[Any]:
    """The next so many events, and that there are no more with them or after."""
    found: list[Any] = []
    quiet = 0
    while len(found) < count or quiet < 2:
        events = await anext(polls)
        quiet = 0 if events else quiet + 1
        for event in events:
            found.append(event if isinstance(event, str) else _seen(event))
    assert len(found) == count, found
    return found


def _seen(growth: Growth) -> tuple[int, int, int, str | None, str | None]:
    flow = growth.flow
    return flow.port, growth.packets, flow.packets, flow.source_name, flow.destination_name


def test_lines(monkeypatch: pytest.MonkeyPatch, fleet: Cluster) -> None:
    """One a flow, as text and as JSON."""
    seen = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)
    known = from_agent(flow("10.244.1.7", "10.0.0.9", 514, 9, 0), "linux-a", seen)
    grown = replace(known, source_name="pod ward/gateway-0")

    async def once(*_: object) -> AsyncGenerator[list[Growth | str], None]:
        yield [Growth(grown, 2, "audit"), "linux-b: the node is not ready"]
        yield [Growth(grown, 1, "enforce")]

    monkeypatch.setattr(following, "follow", once)
    compare("denials_follow.txt", printed(run("--follow")))
    lines = run("--follow", "-o", "json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"time": "2026-03-01T12:00:00Z", "mode": mode, "newPackets": new, **as_json(grown)}
        for mode, new in (("audit", 2), ("enforce", 1))
    ]


def test_until_ctrl_c(fleet: Cluster) -> None:
    node = fleet.nodes["linux-a"]
    ends = "10.244.1.7", "10.244.2.9", 514
    says(node, "audit", flow(*ends, 7, 100))
    command = [*LISTENING, sys.executable, "-m", "udp_security"]
    command += ["denials", "--follow", "--since", "10m"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline().endswith(": linux-a would deny 7 packets (7 in all)\n")
            says(node, "audit", flow(*ends, 9, 0))
            assert process.stdout.readline().endswith(": linux-a would deny 2 packets (9 in all)\n")
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 130
    assert not rest
    said = [line for line in errors.splitlines() if not line.startswith("... Waiting")]
    assert said[:2] == [
        "... Following what is denied; Ctrl-C ends it",
        "Note: windows-a: not available on Windows",
    ]
    assert re.fullmatch(r"Interrupted\. In \d+ s: 9 packets denied, of 1 flows\.", said[-1])
    assert "Traceback" not in errors
