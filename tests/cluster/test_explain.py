# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""`udp-security explain --live`: what one node says of one flow, and what is left where it doesn't.

What the real agent says of real packets is in tests/live.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.cluster.cluster import NAMESPACE, Cluster, running
from tests.cluster.node import FakeNode, Reply
from tests.golden import compare

from udp_security.cli.main import cli
from udp_security.cluster.conntrack import pattern
from udp_security.policy import Flow

GOLDEN = Path(__file__).parent / "golden"
VALUES = """\
rules:
  - name: syslog
    direction: ingress
    ports: [514]
    from: [10.1.0.0/16]
"""
# Generation 5 in slot 5: 3 * 5 + 1 is ingress, 3 * 4 + 1 an older generation's.
ENTRIES = """\
generation 5
ipv4     2 udp      17 117 src=10.1.0.7 dst=10.9.0.1 sport=40000 dport=514 src=10.9.0.1 \
dst=10.1.0.7 sport=514 dport=40000 [ASSURED] mark=268435456 zone=0 use=2
ipv4     2 udp      17 29 src=10.1.0.7 dst=10.9.0.1 sport=40001 dport=514 [UNREPLIED] \
src=10.9.0.1 dst=10.1.0.7 sport=514 dport=40001 mark=218103808 zone=0 use=2
ipv4     2 udp      17 src=10.1.0.7 dst=10.9.0.1 sport=40002 dport=514 src=10.9.0.1 \
dst=10.1.0.7 sport=514 dport=40002 [OFFLOAD] mark=0 zone=0 use=2
ipv4     2 udp      17 29 src=10.1.0.7 dst=10.9.0.1 sport=40003 dport=514 src=10.9.0.1 \
dst=10.1.0.7 sport=514 dport=40003 use=2
"""
DENIED = {
    "direction": "ingress",
    "source": "10.2.0.7",
    "destination": "10.9.0.1",
    "port": 514,
    "packets": 12,
    "bytes": 1200,
    "ago": 7,
}

Explain = Callable[..., Result]


class Teller:
    """What a node's pod says besides its agent's own words: the policy's files, and conntrack."""

    def __init__(self, cluster: Cluster, node: FakeNode) -> None:
        self._cluster = cluster
        self._plain = node.answer
        self.conntrack = ENTRIES
        self.policy: str | None = None
        self.status: dict[str, Any] = {}

    def answer(self, pod: dict[str, Any], generation: str, command: Sequence[str]) -> Reply:
        text = " ".join(command)
        if "policy.json" in text:
            return Reply(0, self._file("windows", "policy.json"))
        if "policy.facts" in text:
            facts, rules = (self._file("linux", f"policy.{name}") for name in ("facts", "rules"))
            return Reply(0, self.policy or f"{facts.strip()}\n--- policy.rules\n{rules}")
        if "nf_conntrack" in text:
            return Reply(0, self.conntrack)
        reply = self._plain(pod, generation, command)
        if command[-1] == "status" and reply.code == 0 and self.status:
            return Reply(0, json.dumps({**json.loads(reply.output), **self.status}))
        return reply

    def _file(self, os: str, name: str) -> str:
        data = self._cluster.objects("configmaps")[f"udp-security-{os}"]["data"]
        return str(data[name])


@pytest.fixture(scope="module")
def enabled(
    helm: str, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A cluster with our policy; enabling takes as long as all tests here."""
    folder = tmp_path_factory.mktemp("explain")
    with running(folder, certificate) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        patch.setenv("HOME", str(folder))
        done = CliRunner().invoke(cli, ["enable", "-f", "-"], input=VALUES)
        assert done.exit_code == 0, done.output
        yield cluster


@pytest.fixture
def teller(enabled: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Teller]:
    """That of linux-a; windows-a has one as well. Afterwards both nodes are as before."""
    nodes = [enabled.nodes["linux-a"], enabled.nodes["windows-a"]]
    before = [dict(vars(node)) for node in nodes]
    for node in nodes:
        told = Teller(enabled, node)
        monkeypatch.setattr(node, "answer", told.answer)
        if node.name == "linux-a":
            found = told
    yield found
    monkeypatch.undo()
    for node, attributes in zip(nodes, before, strict=True):
        vars(node).update(attributes)


@pytest.fixture
def explain() -> Explain:
    """Asks about a flow to linux-a's syslog."""

    def invoke(*more: str, node: str = "linux-a", source: str = "10.1.0.7") -> Result:
        flow = ["--direction", "ingress", "--from", source, "--to", "10.9.0.1", "--port", "514"]
        return CliRunner().invoke(cli, ["explain", "--live", "--node", node, *flow, *more])

    return invoke


def stable(text: str) -> str:
    """Without times and what the chart's content decides."""
    text = re.sub(r"\b[0-9a-f]{12}\b", "0123456789ab", text)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "2026-01-31T12:00:00Z", text)


def test_a_cached_flow(teller: Teller, explain: Explain) -> None:
    teller.status["counters"] = {
        "rules": [{"name": "syslog", "packets": 42, "bytes": 4200}],
        "denied": {"ingress": {"packets": 12, "bytes": 1200}},
    }
    done = explain()
    assert done.exit_code == 0, done.output
    compare(GOLDEN / "explain-cached.txt", stable(done.stdout))
    live = json.loads(explain("-o", "json").stdout)["live"]
    assert live["counted"] == "flows"
    assert live["counters"] == [{"rule": "syslog", "count": 42}]
    assert [entry["cachedAs"] for entry in live["conntrack"]["entries"]] == (
        ["ingress", None, None, None]
    )
    assert [entry["state"] for entry in live["conntrack"]["entries"]] == (
        ["assured", "unreplied", "offload", "replied"]
    )


def test_a_cache_that_is_not_trusted_yet(teller: Teller, explain: Explain) -> None:
    teller.status["cache"] = {"trusted": False}
    done = explain()
    assert "accepted by the policy in force; cached verdicts are not trusted yet" in done.stdout
    assert "  >              rule syslog: ACCEPT" in done.stdout
    assert json.loads(explain("-o", "json").stdout)["live"]["counted"] == "packets"


def test_more_entries_than_anybody_reads(teller: Teller, explain: Explain) -> None:
    teller.conntrack = "\n".join([*ENTRIES.splitlines(), *ENTRIES.splitlines()[1:3]])
    assert "\n  and more\n" in explain().stdout
    conntrack = json.loads(explain("-o", "json").stdout)["live"]["conntrack"]
    assert (conntrack["more"], len(conntrack["entries"])) == (True, 5)


@pytest.mark.parametrize(
    ("conntrack", "said"),
    [
        ("", "Conntrack: no entry of this flow"),
        ("generation 5\nunknown\n", "its kernel does not show conntrack's entries"),
        (ENTRIES.partition("\n")[2], "not known whether its verdict is cached"),
        ("generation 99999999999\nipv4\n\x1b[2J\nipv4 2 udp 17 x", "no entry of this flow"),
    ],
    ids=["none", "a kernel that does not tell", "no table", "nonsense"],
)
def test_conntrack(teller: Teller, explain: Explain, conntrack: str, said: str) -> None:
    teller.conntrack = conntrack
    done = explain()
    assert done.exit_code == 0, done.output
    assert said in done.stdout


def test_a_denied_flow(enabled: Cluster, teller: Teller, explain: Explain) -> None:
    other = {**DENIED, "source": "10.2.0.8"}
    enabled.nodes["linux-a"].flows = [other, DENIED]
    done = explain(source="10.2.0.7")
    assert done.exit_code == 0
    assert "DENY: no rule allows it (drop)" in done.stdout
    assert "Denied of this flow: 12 packets, the last 7 s ago" in done.stdout
    assert "Denied of this flow: none in the last hour" in explain(source="10.2.0.9").stdout


def test_an_agent_without_the_command(enabled: Cluster, teller: Teller, explain: Explain) -> None:
    """Its status has the flows denied most."""
    node = enabled.nodes["linux-a"]
    node.prints["denials"] = Reply(2, error="usage: agent.sh run|check|status|remove")
    old = {name: value for name, value in DENIED.items() if name != "ago"}
    others = [{**old, "source": f"10.3.0.{n}"} for n in range(20)]
    node.flows = [old]
    assert "Denied of this flow: 12 packets\n" in explain(source="10.2.0.7").stdout
    assert "none in the last hour" in explain(source="10.2.0.9").stdout
    node.flows = others
    assert "not among the flows denied most" in explain(source="10.2.0.9").stdout
    found = json.loads(explain("-o", "json", source="10.2.0.9").stdout)
    assert found["live"]["deniedFlow"] is None


def test_iptables_remembers_nothing(teller: Teller, explain: Explain) -> None:
    teller.status = {"backend": "iptables", "cache": None, "deniedFlows": None}
    teller.conntrack = ENTRIES.partition("\n")[2]
    done = explain(source="10.2.0.7")
    assert done.exit_code == 0
    assert "Denied of this flow: not available with the backend iptables" in done.stdout
    assert "no verdict cache in force" in done.stdout
    assert "UDPSEC-INPUT" in done.stdout


def test_a_policy_without_a_form_for_iptables(
    enabled: Cluster, teller: Teller, explain: Explain
) -> None:
    """The ruleset is all that there is then, and says the same."""
    with_rules = explain().stdout
    data = enabled.objects("configmaps")["udp-security-linux"]["data"]
    teller.policy = f"{data['policy.facts'].strip()}\n--- policy.nft\n{data['policy.nft']}"
    assert explain().stdout == with_rules


def test_a_windows_node(teller: Teller, explain: Explain) -> None:
    done = explain(node="windows-a", source="10.244.1.9")
    assert done.exit_code == 0, done.output
    compare(GOLDEN / "explain-windows.txt", stable(done.stdout))
    forward = ["--direction", "forward"]
    refused = explain(*forward, node="windows-a")
    assert refused.exit_code == 2
    assert "never happens on a Windows host" in refused.stderr


def test_a_policy_that_is_not_in_force(teller: Teller, explain: Explain) -> None:
    teller.status = {"healthy": False, "reason": "the rules are gone from the kernel"}
    done = explain()
    assert done.exit_code == 1
    assert done.stdout.splitlines()[1] == (
        "NOT IN FORCE on linux-a: the rules are gone from the kernel"
    )
    assert "Path on node linux-a, were this policy in force:" in done.stdout
    found = json.loads(explain("-o", "json").stdout)
    assert (found["verdict"], found["live"]["inForce"]) == ("allow", False)


def test_a_silent_agent_leaves_the_clusters_policy(
    enabled: Cluster, teller: Teller, explain: Explain
) -> None:
    enabled.nodes["linux-a"].silent = True
    done = explain("--timeout", "1")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[1].startswith(
        "NOT KNOWN TO BE IN FORCE on linux-a: the agent does not answer: no answer"
    )
    assert lines[2].startswith("What follows is the policy that the cluster is told to run")
    assert "  syslog  counter not known" in lines
    assert "... asking node linux-a" in done.stderr


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("\x1b[2J", "printed no policy: ?[2J"),
        ("mode learn\n--- policy.rules\nx", "this policy.facts is not what the chart makes ("),
    ],
)
def test_a_node_that_tells_nonsense(
    teller: Teller, explain: Explain, policy: str, said: str
) -> None:
    teller.policy = policy
    done = explain()
    assert done.exit_code == 1
    assert said in done.stdout
    assert "\nWhat follows is the policy that the cluster is told to run" in done.stdout
    assert "\nALLOW\n" in done.stdout
    assert "\x1b" not in done.output


@pytest.mark.parametrize(
    ("source", "destination", "port", "found"),
    [
        ("10.1.0.7", "10.9.0.1", 514, 4),
        ("10.1.0.7", "10.9.0.1", 51, 0),
        ("10.1.0.7", "10.9.0.1", 40000, 0),
        ("10.1.0.70", "10.9.0.1", 514, 0),
        ("10.1.0.0", "10.9.0.1", 514, 0),
        ("10.1.0.7", "10.9.0.10", 514, 0),
        ("10.9.0.1", "10.1.0.7", 40000, 0),
    ],
)
def test_only_the_flows_own_entries_leave_the_node(
    source: str, destination: str, port: int, found: int
) -> None:
    """As the node's grep finds them: no prefix of an address or port, and not the other way."""
    flow = Flow("ingress", ip_address(source), ip_address(destination), port)
    done = subprocess.run(
        ["grep", "-c", "-e", pattern(flow)],
        input=ENTRIES,
        capture_output=True,
        text=True,
        check=False,
    )
    assert int(done.stdout) == found


def test_no_such_node(enabled: Cluster, explain: Explain) -> None:
    done = explain(node="linux-z")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "no node 'linux-z' (it has linux-a, linux-b, windows-a)" in done.stderr


def test_without_the_right_to_run_commands(
    enabled: Cluster, explain: Explain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enabled.server, "forbidden", {("GET", "pods")})
    done = explain()
    assert (done.exit_code, done.stdout) == (2, "")
    assert "refuses" in done.stderr


def test_the_older_pods_policy(enabled: Cluster, teller: Teller, explain: Explain) -> None:
    """The last test: a rollout that stands still, and the older agent's policy in force."""
    for name in ("linux-a", "linux-b"):
        enabled.nodes[name].takes = 600
    spec = enabled.objects("daemonsets")["udp-security-linux"]["spec"]
    spec["template"]["spec"]["containers"][0]["env"][0]["value"] = "f" * 64
    enabled.store.change(
        "daemonsets", NAMESPACE, "udp-security-linux", lambda old: {**old, "spec": spec}
    )
    enabled.wait_until(lambda: len(enabled.objects("pods")) == 4)
    nodes = [pod["spec"]["nodeName"] for pod in enabled.objects("pods").values()]
    (rolling,) = (name for name in ("linux-a", "linux-b") if nodes.count(name) == 2)
    assert rolling == "linux-a"
    done = explain()
    assert done.exit_code == 0, done.output
    assert re.match(
        r"OLDER POLICY in force on linux-a: \w{12} \(the cluster is told to run f{12}\)",
        done.stdout.splitlines()[1],
    )
