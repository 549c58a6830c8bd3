# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""What the API server, or who speaks for it, may answer; as whom it is asked, and with what rights.

One cluster for all tests: what is changed in it is undone after each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.cluster.apiserver import TOKEN, Right
from tests.cluster.cluster import NAMESPACE, Cluster, running

from udp_security.cli.main import cli
from udp_security.cluster import rollout

DOCS = Path(__file__).parents[2] / "docs"
FLOW = "--direction ingress --from 10.0.0.7 --to 10.9.0.1 --port 514"
# Those that only look, by the name in the documentation.
COMMANDS = {
    "status": "status",
    "denials": "denials",
    "denials -o json": "denials -o json",
    "suggest": "suggest",
    "explain --live": f"explain --live --node linux-a {FLOW}",
    "diff --live": "diff --live -",
}
DONE = b'\x03{"status":"Success"}'

Change = Callable[..., None]


def run(command: str) -> Result:
    return CliRunner().invoke(cli, command.split(), input="{}")


@pytest.fixture(scope="module")
def enabled(
    helm: str, certificate: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("answers")
    with running(folder, certificate) as cluster, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(cluster.kubeconfig))
        patch.setenv("HOME", str(folder))
        patch.setattr(rollout, "_POLL", 0.05)
        patch.setattr(rollout, "_SETTLING", 0.3)
        done = run("enable -f -")
        assert done.exit_code == 0, done.output
        yield cluster


@pytest.fixture
def fleet(enabled: Cluster) -> Iterator[Cluster]:
    yield enabled
    enabled.server.bodies.clear()
    enabled.server.fails.clear()
    enabled.server.granted = None
    enabled.nodes["linux-a"].frames = None


@pytest.fixture
def change(fleet: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """Makes another kubeconfig the one in use: with other entries of its user and cluster."""
    document = yaml.safe_load(fleet.kubeconfig.read_text())

    def write(user: dict[str, Any], **cluster: object) -> None:
        config = json.loads(json.dumps(document))
        config["users"][0]["user"] = user
        config["clusters"][0]["cluster"] |= cluster
        (tmp_path / "config").write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))

    return write


@pytest.mark.parametrize(
    "frame",
    [
        b"[]",
        b"NaN",
        b"\xff",
        b"[" * 100_000,
        b'{"status":"Failure","message":5}',
        b'{"status":"Failure","message":["a"]}',
    ],
    ids=["list", "number", "bytes", "deep", "numeric-message", "list-message"],
)
def test_a_node_that_says_nonsense_of_a_command(fleet: Cluster, frame: bytes) -> None:
    """It is one node's word, and no other node's matter."""
    fleet.nodes["linux-a"].frames = [b"\x03" + frame]
    done = run("status")
    assert done.exit_code == 1
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "no: the agent does not answer" in lines["linux-a"]
    assert " yes " in lines["linux-b"]
    done = run("denials")
    assert done.exit_code == 1
    assert "Note: linux-a: the agent does not answer: " in done.stderr


def test_a_node_that_says_nonsense_of_a_command_to_all_others(fleet: Cluster) -> None:
    fleet.nodes["linux-a"].frames = [b"\x03[]"]
    done = run("suggest -o json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["silentNodes"][0]["node"] == "linux-a"
    done = run(COMMANDS["explain --live"])
    assert done.exit_code == 1
    assert "what the node says of the command is no status of Kubernetes" in done.output


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_an_api_server_that_fails(fleet: Cluster, command: str) -> None:
    """Whether the policy is in force is not known then, and 1 would say that it is not."""
    for status in (410, 429, 500):
        message = json.dumps({"message": "slow\x1b[2Jdown"}).encode()
        fleet.server.bodies["nodes"] = status, message
        fleet.server.bodies["configmaps"] = status, message
        done = run(command)
        assert (done.exit_code, done.stdout) == (2, "")
        assert f"refuses: slow?[2Jdown (HTTP {status})" in done.stderr


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (403, b"", "refuses: Forbidden (log in as"),
        (403, b"<html>", "refuses: Forbidden (log in as"),
        (502, b"<html>", "refuses: Bad Gateway (HTTP 502)"),
        (504, b"", "refuses: Gateway Timeout (HTTP 504)"),
        (500, b"[]", "refuses: Internal Server Error (HTTP 500)"),
        *(
            (200, body, "does not answer as Kubernetes does (check the kubeconfig's server")
            for body in (b"", b"<html>", b"[]", b"null", b'"x"', b"{}", b"[" * 100_000)
        ),
        *(
            (200, body, "does not answer as Kubernetes does (check the kubeconfig's server")
            for body in (b'{"items":null}', b'{"items":[5]}', b'{"items":[{}]}')
        ),
    ],
)
def test_who_is_no_api_server(fleet: Cluster, status: int, body: bytes, said: str) -> None:
    for resource in ("nodes", "daemonsets"):
        fleet.server.bodies = {resource: (status, body)}
        done = run("status")
        assert (done.exit_code, done.stdout) == (2, "")
        assert said in done.stderr


def test_a_policy_that_is_nested_too_deeply(fleet: Cluster) -> None:
    objects = fleet.objects("configmaps").values()
    old = next(each for each in objects if "policy.json" in each["data"])
    new = {**old, "data": {"policy.json": "[" * 100_000}}
    fleet.server.bodies["configmaps"] = 200, json.dumps({"items": [new]}).encode()
    done = run("diff --live -")
    assert done.exit_code == 2
    assert "the ConfigMap for windows: it is nested too deeply" in done.stderr


def test_tokens(change: Change, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    change({"tokenFile": "token"})
    assert run("status").exit_code == 0
    told = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    (tmp_path / "login").write_text(json.dumps({**told, "status": {"token": "a\r\nb: c"}}))
    plugin = {"apiVersion": told["apiVersion"], "command": "cat", "args": [str(tmp_path / "login")]}
    for user in ({"token": "a\nb"}, {"token": "a\0"}, {"exec": plugin}):
        change(user)
        done = run("status")
        assert done.exit_code == 2
        assert "the token of user admin has control characters in it" in done.stderr


def test_a_login_plugin_beside_the_kubeconfig(
    change: Change, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> None:
    status = {"token": TOKEN}
    told = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    (tmp_path / "bin").mkdir()
    plugin = tmp_path / "bin" / "login"
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps({**told, 'status': status})}'\n")
    plugin.chmod(0o755)
    change({"exec": {"apiVersion": told["apiVersion"], "command": "bin/login"}})
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert run("status").exit_code == 0


def test_acting_as_another(fleet: Cluster, change: Change) -> None:
    """Every request says so, commands in pods as well."""
    extra = {"example.com/why": ["drill"]}
    change({"token": TOKEN, "as": "bob", "as-groups": ["g", "h"], "as-user-extra": extra})
    fleet.server.impersonated.clear()
    assert run("status").exit_code == 0
    said = [("Impersonate-User", "bob"), ("Impersonate-Group", "g"), ("Impersonate-Group", "h")]
    said.append(("Impersonate-Extra-example.com%2Fwhy", "drill"))
    assert len(fleet.server.impersonated) > len(fleet.nodes)
    assert all(headers == said for headers in fleet.server.impersonated)
    change({"token": TOKEN, "as-groups": ["system:masters"]})
    done = run("status")
    assert done.exit_code == 2
    assert "user admin cannot act as another: as-uid, as-groups and as-user-extra" in done.stderr


def test_proxies(change: Change, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubeconfig's is taken; the environment's is not for a server on this machine."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    change({"token": TOKEN})
    assert run("status").exit_code == 0
    change({"token": TOKEN}, **{"proxy-url": "http://127.0.0.1:1"})
    done = run("status")
    assert done.exit_code == 2
    assert "cannot be reached: Cannot connect to host 127.0.0.1:1 " in done.stderr
    for proxy, why in (
        ("socks5://own", "proxy-url names no proxy with http://"),
        (5, "kubeconfig is"),
    ):
        change({"token": TOKEN}, **{"proxy-url": proxy})
        done = run("status")
        assert done.exit_code == 2
        assert why in done.stderr


def rights_in_the_documentation() -> set[Right]:
    """What the ready roles give."""
    text = (DOCS / "watch-the-fleet.md").read_text(encoding="utf-8")
    (block,) = (found for found in re.findall(r"```yaml\n(.*?)```", text, re.S) if "kind:" in found)
    return {
        (verb, resource, role["metadata"].get("namespace", ""))
        for role in yaml.safe_load_all(block)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


# What each command cannot do without.
LOOKING = {("list", "nodes", "")}
ASKING = LOOKING | {
    *(("list", each, NAMESPACE) for each in ("pods", "daemonsets", "controllerrevisions")),
    *((verb, "pods/exec", NAMESPACE) for verb in ("get", "create")),
}
CONFIG_MAPS, SERVICES = ("list", "configmaps", NAMESPACE), ("list", "servicecidrs", "")
NEEDS: dict[str, set[Right]] = {
    "status": ASKING,
    "denials": ASKING,
    "denials -o json": ASKING | {CONFIG_MAPS},
    "suggest": ASKING | {CONFIG_MAPS},
    "explain --live": ASKING | {CONFIG_MAPS},
    "diff --live": LOOKING | {CONFIG_MAPS, SERVICES, ("list", "daemonsets", NAMESPACE)},
}


def test_rights(fleet: Cluster) -> None:
    """The documented roles have all that is asked for, and nothing else."""
    granted = rights_in_the_documentation()
    used: set[Right] = set()
    for command in COMMANDS.values():
        fleet.server.granted = None
        before = run(command)
        fleet.server.granted = granted
        fleet.server.asked.clear()
        after = run(command)
        assert (after.exit_code, after.stderr) == (before.exit_code, before.stderr), command
        used |= fleet.server.asked
    assert used == granted


@pytest.mark.parametrize("command", NEEDS)
def test_fewer_rights(fleet: Cluster, command: str) -> None:
    """Without the others only names are missing; without one of these the command says so."""
    words, needed = COMMANDS[command], NEEDS[command]
    code = run(words).exit_code
    fleet.server.granted = needed
    assert run(words).exit_code == code
    for right in needed:
        fleet.server.granted = needed - {right}
        done = run(words)
        known = right == CONFIG_MAPS and command == "denials -o json"
        assert done.exit_code == (code if known else 2), right
        assert "refuses" in done.stderr
        assert right[1] in done.stderr
