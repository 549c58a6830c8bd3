# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security status`: what each node says, in one table."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from tests.cluster.cluster import NAMESPACE, Cluster
from tests.cluster.conftest import Run
from tests.cluster.node import FakeNode, Reply
from tests.golden import compare
from tests.k2s.artifact_places import CHART

from udp_security.cli import cluster as cli_cluster
from udp_security.cli import status

SPANS = ({"days": 3}, {"hours": 5}, {"minutes": 90})
GOLDEN = Path(__file__).parent / "golden"


def stable(text: str) -> str:
    """Without what the chart's content and the fake cluster's clock decide."""
    text = re.sub(r"\b[0-9a-f]{12}\b", "0123456789ab", text)
    text = re.sub(r"(udp-security-(?:linux|windows))-\d{5}", r"\1-xxxxx", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-31T12:00:00Z", text)
    return re.sub(r"https://127.0.0.1:\d+", "https://127.0.0.1:6443", text)


def ago(**span: float) -> str:
    """A time that long ago, as agents print it."""
    return (datetime.now(timezone.utc) - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%SZ")


def break_rules(cluster: Cluster, name: str) -> None:
    node = cluster.nodes[name]
    node.refuses = "the rules are gone from the kernel"
    node.rules = None


def test_all_is_well(cluster: Cluster, run: Run) -> None:
    linux = cluster.nodes["linux-a"]
    linux.denied, linux.heals = {"ingress": 7, "forward": 9}, 3
    for node, span in zip(cluster.nodes.values(), SPANS, strict=True):
        node.applied = ago(**span, seconds=1)
    run("enable")
    done = run("status")
    assert done.exit_code == 0
    compare(GOLDEN / "status.txt", stable(done.stdout))


def test_a_bad_day(cluster: Cluster, run: Run) -> None:
    """All that can be wrong at once, in the table and in words."""
    names = ("linux-c", "linux-d", "linux-e", "linux-f", "linux-g")
    for number, name in enumerate(names, 10):
        cluster.add(name, number)
    run("enable", "--set", "windows.enabled=false")
    for node in cluster.nodes.values():
        node.applied = ago(days=20)
    cluster.nodes["linux-a"].not_governed = ["IPv6: the kernel has none"]
    break_rules(cluster, "linux-b")
    cluster.nodes["linux-c"].silent = cluster.nodes["linux-d"].silent = True
    cluster.nodes["linux-e"].gone = True
    cluster.nodes["linux-f"].ready = False
    cluster.nodes["linux-g"].prints["status"] = Reply(0, "\x1b[2Jsegfault")
    cluster.wait_until(lambda: "Unknown" in str(cluster.store.get("nodes", "", "linux-f")))
    done = run("status", "--timeout", "2")
    assert done.exit_code == 1
    compare(GOLDEN / "status-bad-text.txt", stable(done.stdout))
    cluster.nodes["linux-c"].silent = cluster.nodes["linux-d"].silent = False
    compare(GOLDEN / "status-bad-wide.txt", stable(run("status", "-o", "wide").stdout))


def test_in_audit_nobody_enforces(cluster: Cluster, run: Run) -> None:
    """Scripts can tell it from a policy that is not in force."""
    for node in cluster.nodes.values():
        node.applied = ago(days=20)
    run("enable", "--mode", "audit")
    done = run("status")
    assert done.exit_code == 3
    compare(GOLDEN / "status-audit.txt", stable(done.stdout))
    answer = json.loads(run("status", "-o", "json").stdout)
    assert (answer["inForce"], answer["enforced"]) == (True, False)


def test_as_json_with_what_the_agents_say(cluster: Cluster, run: Run) -> None:
    run("enable")
    answer = json.loads(run("status", "-o", "json").stdout)
    assert (answer["enabled"], answer["inForce"], answer["enforced"]) == (True, True, True)
    schema = json.loads((CHART / "files" / "status.schema.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    for node in answer["nodes"]:
        validator.validate(node["status"])
        assert node["inForce"] and node["reason"] is None
        assert node["ownerPod"] in cluster.objects("pods")


def test_not_enabled(cluster: Cluster, run: Run) -> None:
    done = run("status")
    assert done.exit_code == 1
    assert "not enabled" in done.stdout
    assert json.loads(run("status", "-o", "json").stdout)["enabled"] is False


def test_a_node_that_is_off_is_no_fault(cluster: Cluster, run: Run) -> None:
    run("enable")
    cluster.nodes["linux-b"].ready = False
    cluster.wait_until(lambda: "Unknown" in str(cluster.store.get("nodes", "", "linux-b")))
    done = run("status")
    assert done.exit_code == 0
    assert "2 of 2 nodes enforce\nNot ready, and so not counted: linux-b\n" in done.stdout


def test_nodes_that_are_not_governed(cluster: Cluster, run: Run) -> None:
    run("enable", "--set", "windows.enabled=false")
    done = run("status")
    assert done.exit_code == 0
    assert "not governed" in done.stdout
    assert "no: " not in done.stdout


def test_nodes_that_the_selector_leaves_out(cluster: Cluster, run: Run) -> None:
    cluster.nodes["linux-a"].labels["edge"] = "yes"
    run("enable", "--set", "linux.nodeSelector.edge=yes")
    answer = json.loads(run("status", "-o", "json").stdout)
    governed = {node["node"]: node["governed"] for node in answer["nodes"]}
    assert governed == {"linux-a": True, "linux-b": False, "windows-a": True}


def test_a_policy_that_governs_nobody(cluster: Cluster, run: Run) -> None:
    run("enable", "--set", "linux.nodeSelector.no=where,windows.enabled=false")
    done = run("status")
    assert done.exit_code == 1
    assert "No node is governed" in done.stdout


def test_an_older_policy(cluster: Cluster, run: Run) -> None:
    """A rollout that stands still: the agents are healthy, with what they have."""
    run("enable")
    cluster.nodes["linux-a"].takes = cluster.nodes["linux-b"].takes = 100
    spec = cluster.objects("daemonsets")["udp-security-linux"]["spec"]
    spec["template"]["spec"]["containers"][0]["env"][0]["value"] = "f" * 64
    cluster.store.change(
        "daemonsets", NAMESPACE, "udp-security-linux", lambda old: {**old, "spec": spec}
    )
    cluster.wait_until(lambda: len(cluster.objects("pods")) == 4)
    done = run("status")
    assert done.exit_code == 1
    assert re.search(
        r"^Generations differ between the linux nodes: \w{12} on linux-\w; \w{12} on linux-\w$",
        done.stdout,
        re.MULTILINE,
    )


NONSENSE: list[Callable[[dict[str, Any]], object]] = [
    lambda said: said.update(mode="\x1b[31menforce"),
    lambda said: said.update(generation=7),
    lambda said: said.update(appliedAt="yesterday"),
    lambda said: said.update(heals=-1),
    lambda said: said.update(healthy="yes"),
    lambda said: said.update(notGoverned="all"),
    lambda said: said.update(counters=[]),
    lambda said: said["counters"].update(denied={"ingress": {"packets": "many"}}),
    lambda said: said.update(owner="\r\n"),
    lambda said: said.pop("reason"),
    lambda said: said.update(cache=5),
]


def test_an_agent_may_say_anything(cluster: Cluster, run: Run) -> None:
    """Whoever owns a node owns its agent, but neither this program nor the terminal."""
    run("enable")
    answer = json.loads(run("status", "-o", "json").stdout)["nodes"][0]["status"]
    said = [copy.deepcopy(answer) for _ in NONSENSE]
    for change, each in zip(NONSENSE, said, strict=True):
        change(each)
    texts = ["", "[]", "5", "[" * 100_000, "\x1b[2J", *map(json.dumps, said)]
    for text in texts:
        cluster.nodes["linux-a"].prints["status"] = Reply(0, text)
        done = run("status", "-o", "wide")
        assert done.exit_code == 1, done.exception
        assert "linux-a: the agent printed no status: " in done.stdout
        assert all(c.isprintable() or c == "\n" for c in done.stdout)
    assert json.loads(run("status", "-o", "json").stdout)["nodes"][0]["status"] is None


def test_an_agent_that_never_stops_talking(cluster: Cluster, run: Run) -> None:
    run("enable")
    cluster.nodes["linux-a"].prints["status"] = Reply(0, "x" * (17 << 20))
    done = run("status")
    assert done.exit_code == 1
    assert "linux-a: the agent does not answer: the command printed more than 16 MiB" in done.stdout


def many(cluster: Cluster, run: Run, count: int) -> list[FakeNode]:
    """So many governed nodes, and one that runs Windows."""
    run("enable")
    for number in range(10, 7 + count):
        cluster.add(f"linux-{number}", number)
    cluster.wait_until(lambda: len(cluster.modes()) == count, 60)
    return [node for node in cluster.nodes.values() if node.os == "linux"]


def test_500_nodes(cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each slow one takes its time once, and not one after another."""
    monkeypatch.setattr(cli_cluster, "_PROGRESS", 0.2)
    nodes = many(cluster, run, 500)
    for node in nodes[::5]:
        node.slow = 1
    nodes[1].gone = True
    began = time.monotonic()
    done = run("status", "--timeout", "60")
    assert time.monotonic() - began < 30
    assert done.exit_code == 1
    assert "499 of 500 nodes enforce; linux-b: the agent does not answer: the API" in done.stdout
    assert re.search(r"^\.\.\. asked 500 nodes, \d+ have answered$", done.stderr, re.MULTILINE)


def test_half_of_the_nodes_are_silent(cluster: Cluster, run: Run) -> None:
    """They take one timeout together, however many they are, and nobody stands in line for them."""
    for number, node in enumerate(many(cluster, run, 240)[::2]):
        node.silent, node.lost = number % 2 == 0, number % 2 == 1
    began = time.monotonic()
    done = run("status", "--timeout", "4")
    assert time.monotonic() - began < 30
    assert done.exit_code == 1
    assert "120 of 240 nodes enforce; linux-" in done.stdout
    assert "and 115 more: the agent does not answer: no answer within 4 s" in done.stdout


def watched(monkeypatch: pytest.MonkeyPatch, *steps: Callable[[], object]) -> None:
    """Lets `--watch` end by Ctrl-C when the steps are taken, one after each look."""
    left = list(steps)

    async def pause() -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop(0)()

    monkeypatch.setattr(status, "_pause", pause)


def test_watch_prints_changes(cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("enable")
    lost = {("*", "nodes")}
    watched(
        monkeypatch,
        lambda: None,
        lambda: break_rules(cluster, "linux-b"),
        lambda: cluster.server.fails.update(lost),
        lambda: None,
        cluster.server.fails.clear,
    )
    done = run("status", "--watch")
    assert done.exit_code == 1  # 130 outside of tests: see test_main.py
    tables = done.stdout.split("\n\n")
    assert len(tables) == 4 and not tables[3].strip("\n")
    assert "3 of 3 nodes enforce" in tables[0]
    assert "2 of 3 nodes enforce; linux-b: the rules are gone" in tables[1]
    assert done.stderr.count("The cluster cannot be asked: ") == 1
    assert "Interrupted" not in done.stderr


def test_watch_on_a_terminal_draws_in_place(
    cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("enable")
    watched(monkeypatch, lambda: break_rules(cluster, "linux-b"))
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = run("status", "--watch")
    assert "\x1b[31m2 of 3 nodes enforce; linux-b" in done.stdout
    # Back up to where the table began.
    assert "\x1b[1A" in done.stdout


def test_watch_on_a_small_terminal_shows_what_is_wrong(
    cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10, 20):
        cluster.add(f"linux-{number}", number)
    run("enable")
    break_rules(cluster, "linux-b")
    watched(monkeypatch, lambda: cluster.server.fails.add(("*", "nodes")))
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "44"), ("LINES", "8")):
        monkeypatch.setenv(name, value)
    done = run("status", "--watch")
    first, again, _ = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", done.stdout).split("12 of 13")[1:]
    lines = first.splitlines()
    assert lines[1].split() == ["NODE", "IN", "FORCE"]
    assert lines[2].startswith("linux-b   no: the rules")
    assert "and 9 more, all in force" in lines
    # Now there are lines that say why nobody could be asked.
    assert any(line == "The cluster cannot be asked:" for line in lines)
    assert "and 12 more, all in force" in again.splitlines()


def test_watch_as_json_is_an_object_a_line(
    cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for node in cluster.nodes.values():
        node.applied = ago(days=1)
    run("enable")
    watched(monkeypatch, lambda: None, lambda: break_rules(cluster, "linux-b"))
    answers = list(map(json.loads, run("status", "--watch", "-o", "json").stdout.splitlines()))
    assert [answer["enforced"] for answer in answers] == [True, False]
