# SPDX-FileCopyrightText: © 2026 udp-security contributors
# SPDX-License-Identifier: MIT
"""Without a cluster that can be asked nothing is changed, and the exit status is 2."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import LISTENING, Run

from udp_security.cli import patience
from udp_security.cluster import client

FLOW = "--direction ingress --from 10.0.0.7 --to 10.9.0.1 --port 514"
# Those that run commands in pods.
ASKING = ["status", "denials", f"explain --live --node linux-a {FLOW}", "suggest"]
COMMANDS = pytest.mark.parametrize(
    "command", ["enable", "disable", *ASKING, "diff --live"], ids=lambda words: words.split()[0]
)


def arguments(command: str, folder: Path) -> list[str]:
    """The command's words. `diff` is given a file to compare with."""
    words = command.split()
    if words[0] == "diff":
        (folder / "new.yaml").write_text("mode: audit\n")
        words.append(str(folder / "new.yaml"))
    return words


@COMMANDS
def test_no_kubeconfig(
    helm: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    done = run(*arguments(command, tmp_path))
    assert done.exit_code == 2
    assert "no cluster to talk to: there is no ~/.kube/config (check --kubeconfig" in done.stderr


@COMMANDS
def test_a_kubeconfig_that_is_none(helm: str, run: Run, tmp_path: Path, command: str) -> None:
    for text in ("", "[]", "5", "a: b", "{", "apiVersion: v1\nclusters: [1]\n"):
        (tmp_path / "config").write_text(text)
        done = run(*arguments(command, tmp_path), "--kubeconfig", "config")
        assert done.exit_code == 2, text
        assert "no cluster to talk to" in done.stderr
        assert ("config is not a kubeconfig" in done.stderr) is (text in ("", "[]", "5"))


def log_in_with(cluster: Cluster, *command: str) -> None:
    """A login plugin, in place of the certificate or token."""
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": command[0],
        "args": list(command[1:]),
    }
    for user in config["users"]:
        user["user"] = {"exec": plugin}
    cluster.kubeconfig.write_text(yaml.safe_dump(config))


def test_a_login_plugin_that_fails(
    cluster: Cluster, run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its words are part of the error, and nothing that a terminal would obey."""
    for command, why in (
        (["/no/such/plugin"], "No such file or directory: '/no/such/plugin'"),
        (["sh", "-c", r"printf '\033[2Jlog in\nfirst' >&2; exit 3"], r"b'\x1b[2Jlog in\nfirst'"),
        (["echo", "no JSON"], "failed to decode process output"),
        (["echo", "{}"], "missing key 'apiVersion'"),
    ):
        log_in_with(cluster, *command)
        done = run("status")
        assert done.exit_code == 2
        assert done.stderr.startswith("Error: no cluster to talk to: the login fails: ")
        assert why in done.stderr
        assert len(done.stderr.splitlines()) == 1
    # Not written beside the error either.
    assert capfd.readouterr().err == ""


def test_a_login_plugin_that_takes_its_time(
    cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "_AFTER", 0.1)
    log_in_with(cluster, "sh", "-c", "sleep 0.5; exit 1")
    assert run("status").stderr.startswith("... Waiting for the cluster's API server, or for the ")


@COMMANDS
def test_no_such_context(cluster: Cluster, run: Run, tmp_path: Path, command: str) -> None:
    done = run(*arguments(command, tmp_path), "--context", "nowhere")
    assert done.exit_code == 2
    assert "nowhere" in done.stderr


@COMMANDS
def test_somebody_else(cluster: Cluster, run: Run, tmp_path: Path, command: str) -> None:
    done = run(*arguments(command, tmp_path), "--context", "stranger")
    assert done.exit_code == 2
    assert "Unauthorized (log in as one who may administer the cluster)" in done.stderr


@COMMANDS
def test_somebody_who_may_nothing(cluster: Cluster, run: Run, tmp_path: Path, command: str) -> None:
    cluster.server.forbidden = {("*", "*")}
    done = run(*arguments(command, tmp_path))
    assert done.exit_code == 2
    assert "is forbidden" in done.stderr


def test_somebody_who_may_only_look(cluster: Cluster, run: Run) -> None:
    """Helm keeps its releases in Secrets."""
    cluster.server.forbidden = {("*", "secrets")}
    done = run("enable")
    assert done.exit_code == 2
    assert "is forbidden" in done.stderr
    assert cluster.is_empty()


@COMMANDS
def test_an_api_server_that_says_nothing(
    cluster: Cluster,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.setattr(client, "_TIMEOUT", 0.5)
    monkeypatch.setattr(patience, "_AFTER", 0.1)
    cluster.server.hangs = {("*", "*")}
    done = run(*arguments(command, tmp_path))
    assert done.exit_code == 2
    assert "does not answer" in done.stderr
    assert done.stderr.startswith("... ")


@COMMANDS
def test_an_api_server_that_is_not_there(
    helm: str, cluster: Cluster, run: Run, tmp_path: Path, command: str
) -> None:
    config = cluster.kubeconfig.read_text()
    port = config.partition("https://127.0.0.1:")[2].partition('"')[0]
    cluster.kubeconfig.write_text(config.replace(port, "1"))
    done = run(*arguments(command, tmp_path))
    assert done.exit_code == 2
    assert "cannot be reached" in done.stderr


def test_a_certificate_that_nobody_vouches_for(cluster: Cluster, run: Run) -> None:
    config = cluster.kubeconfig.read_text()
    start = config.index(', "certificate-authority"')
    end = config.index("}", start)
    cluster.kubeconfig.write_text(config[:start] + config[end:])
    done = run("status")
    assert done.exit_code == 2
    assert "cannot be trusted: " in done.stderr
    assert "(check the kubeconfig's certificate-authority and server)" in done.stderr


def test_somebody_who_may_run_nothing_in_pods(cluster: Cluster, run: Run) -> None:
    run("enable")
    cluster.server.forbidden = {("GET", "exec")}
    for command in ASKING:
        done = run(*command.split())
        assert done.exit_code == 2, command
        assert "may get and create pods/exec in namespace udp-security" in done.stderr
        assert done.stdout == ""


def test_an_api_server_that_goes_away_in_the_middle(cluster: Cluster, run: Run) -> None:
    """The objects are read, and then no agent can be asked."""
    run("enable")
    cluster.server.leaves = True
    for command in ASKING:
        cluster.server.gone = False
        done = run(*command.split())
        assert cluster.server.gone, command
        assert done.exit_code == 2, command
        assert "cannot be reached" in done.stderr
        assert done.stdout == ""


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_no_helm(cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    done = run(command)
    assert done.exit_code == 2
    assert "Helm is not on PATH" in done.stderr


def test_status_needs_no_helm(cluster: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("enable")
    monkeypatch.setenv("PATH", "/nowhere")
    assert run("status").exit_code == 0


class Interrupted:
    """The command line in a process of its own, and Ctrl-C at a moment that its progress tells."""

    def __init__(self, *arguments: str, at: str) -> None:
        process = subprocess.Popen(
            [*LISTENING, sys.executable, "-m", "udp_security", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stderr
        self.text = ""
        while at not in self.text:
            line = process.stderr.readline()
            assert line, f"it ended without {at!r}: {self.text}"
            self.text += line
        # As a terminal does it: to all programs that run.
        os.killpg(process.pid, signal.SIGINT)
        self.text += process.communicate(timeout=30)[1]
        self.code = process.returncode


def test_interrupted_while_waiting(cluster: Cluster, run: Run) -> None:
    """The agents go on; nothing is taken back behind the user's back."""
    cluster.nodes["linux-a"].takes = 100
    done = Interrupted("enable", at="waiting for linux-a")
    assert done.code == 130
    assert "Interrupted. Revision 1 is installed, and the agents go on" in done.text
    assert "Traceback" not in done.text
    cluster.nodes["linux-a"].takes = 0
    cluster.wait_until(lambda: len(cluster.modes()) == 3)
    assert run("status").exit_code == 0


def test_interrupted_while_changing(cluster: Cluster, run: Run) -> None:
    run("enable", "--mode", "audit")
    cluster.nodes["linux-a"].takes = 100
    done = Interrupted("enable", "--mode", "enforce", at="waiting for linux-a")
    assert done.code == 130
    assert "helm rollback udp-security 1 -n udp-security" in done.text


def test_interrupted_while_helm_works(cluster: Cluster, run: Run) -> None:
    cluster.server.hangs = {("PATCH", "configmaps"), ("POST", "configmaps")}
    done = Interrupted("enable", at="Installing the agents")
    assert done.code == 130
    assert "Helm was ended in the middle of its work" in done.text
    cluster.server.hangs = set()
    assert run("enable").exit_code == 0
    assert len(cluster.modes()) == 3


def test_interrupted_while_disabling(cluster: Cluster, run: Run) -> None:
    run("enable")
    cluster.nodes["linux-a"].sticky = True
    done = Interrupted("disable", at="Waiting for the agents on linux-a")
    assert done.code == 130
    assert "run 'udp-security disable' again" in done.text
    cluster.nodes["linux-a"].sticky = False
    assert run("disable").exit_code == 0
    assert cluster.is_empty()
